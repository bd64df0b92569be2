"""Requests served by an `EngineLoop` under the plainest clock there is."""

from collections import deque

import numpy as np
import pandas as pd

from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.engine_loop.loop import EngineLoop, StepTiming
from gpu_timing_assets.engine_loop.sequence import Sequence
from gpu_timing_assets.engine_loop.vllm_v1_scheduler import VllmV1Scheduler


def serve(
    lengths: pd.DataFrame, visible_s: np.ndarray, params: EngineParams, timing: StepTiming
) -> EngineLoop:
    """The loop of an engine that has served all requests; what happened is in its `steps`.

    `lengths`: `num_prefill_tokens` and `num_decode_tokens` of requests 0 … n−1; `visible_s`: when
    each can first be scheduled, shape (requests,), not necessarily sorted.
    """
    loop = EngineLoop(VllmV1Scheduler(params), asynchronous=timing.asynchronous)
    prompts, outputs = lengths["num_prefill_tokens"].tolist(), lengths["num_decode_tokens"].tolist()
    arriving = deque((float(visible_s[i]), i) for i in np.argsort(visible_s, kind="stable"))
    now_s = 0.0
    while arriving or not loop.is_idle:
        while arriving and arriving[0][0] <= now_s:
            _, number = arriving.popleft()
            loop.scheduler.add(Sequence(int(number), prompts[number], outputs[number]))
        step = loop.next_step()
        if step is None:
            now_s = arriving[0][0]
            continue
        step.schedule_begin_s = now_s
        now_s += timing.duration_s(step)
        loop.finish(step)
    return loop

"""Replays the durations of a real run's loop, step by step: no error of the time model is left."""

from collections import deque

import numpy as np
import pandas as pd

from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.engine_loop.kernels import KernelTimes
from gpu_timing_assets.engine_loop.loop_timing import StepKernels
from gpu_timing_assets.engine_loop.step import Step


class RecordedStepTimes:
    """The k-th simulated step takes what the k-th step of the recording took.

    Each turn of the loop takes the time from one `schedule_begin` to the next, and a step's result
    comes as long after its schedule as it did there. Steps beyond the recording take its median.
    `recorded`: the `engine_steps` of a real run.
    """

    def __init__(self, params: EngineParams, kernels: KernelTimes, recorded: pd.DataFrame) -> None:
        self.asynchronous = params.async_scheduling
        self._kernels = StepKernels(params, kernels)
        durations = step_durations_s(recorded)
        self._durations = deque(durations.itertuples(index=False))
        self._median = durations.median()

    def duration_s(self, step: Step) -> float:
        begin_s, previous = step.schedule_begin_s, step.previous
        if not step.sequences:
            assert previous is not None
            previous.result_s = max(begin_s, previous.gpu_end_s)
            return previous.result_s - begin_s
        self._kernels.choose_graph(step)
        recorded = self._durations.popleft() if self._durations else self._median
        step.schedule_end_s = begin_s + recorded.schedule_s
        step.gpu_end_s = step.result_s = begin_s + recorded.result_s
        if not self.asynchronous:
            return float(max(recorded.result_s, recorded.turn_s))
        end_s = begin_s + recorded.turn_s
        if previous is not None:
            previous.result_s = max(previous.gpu_end_s, step.schedule_end_s)
            end_s = max(end_s, previous.result_s)
        return float(end_s - begin_s)


def step_durations_s(steps: pd.DataFrame) -> pd.DataFrame:
    """Of a real run's `engine_steps`: `schedule_s`, `result_s` (schedule begin → result), `turn_s`
    (→ next schedule).

    A turn that ends with the engine idle (its step was processed before the next one was scheduled)
    lasts until its result: how long the engine then waited for work is for the simulated arrivals
    to say.
    """
    begin = steps["schedule_begin_ns"].to_numpy(dtype=float)
    result = steps["result_ns"].fillna(steps["schedule_end_ns"]).to_numpy(dtype=float)
    following = np.r_[begin[1:], result[-1:]]
    return pd.DataFrame(
        {
            "schedule_s": (steps["schedule_end_ns"].to_numpy(dtype=float) - begin) / 1e9,
            "result_s": (result - begin) / 1e9,
            "turn_s": (np.minimum(following, result) - begin) / 1e9,
        }
    )

"""What the fits need of each step of the bursts: durations, and the time of its kernels."""

import numpy as np
import pandas as pd

from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.engine_loop.cuda_graphs import padded_tokens
from gpu_timing_assets.engine_loop.kernels import KernelTimes, StepContent


def derive_steps(steps: pd.DataFrame, params: EngineParams, kernels: KernelTimes) -> pd.DataFrame:
    """`step_durations` with the kernel time of each step: `kernel_ms`, and of it
    `decode_attention_ms`; `decode_kv_tokens` is the context of its decoding requests.

    `previous_kernel_ms` is of the step before in the same burst.
    """
    derived = step_durations(steps, params)
    derived["decode_kv_tokens"] = _decode_kv_tokens(derived)
    contents = list(derived[list(StepContent.__annotations__)].itertuples(index=False))
    derived["kernel_ms"] = [kernels.step_ms(content) for content in contents]
    derived["decode_attention_ms"] = [
        kernels.decode_attention_ms(content.num_decode_requests, content.decode_kv_tokens)
        for content in contents
    ]
    derived["previous_kernel_ms"] = derived["kernel_ms"].shift(1).where(_follows(derived))
    return derived


def step_durations(steps: pd.DataFrame, params: EngineParams) -> pd.DataFrame:
    """`burst_steps` with the durations (ms) that the fits need.

    Adds `num_requests`, `num_tokens`, `padded_tokens`, `schedule_ms`, `update_ms`, `gap_ms` (end of
    an update → next schedule), `interval_ms` (between results), and, asynchronous: `wait_ms`
    (launched → result of the step before begins to be processed), `launch_alone_ms` (launch with no
    step before it); synchronous: `execute_ms`. `previous_*` are of the step before in the same
    burst.
    """
    steps = steps.sort_values(["burst", "step"]).reset_index(drop=True)
    follows = _follows(steps)
    derived = steps.assign(
        num_requests=steps["num_decode_requests"] + steps["num_prefill_requests"],
        num_tokens=steps["num_decode_requests"] + steps["num_prefill_tokens"],
        schedule_ms=(steps["schedule_end_ns"] - steps["schedule_begin_ns"]) / 1e6,
        update_ms=(steps["update_end_ns"] - steps["update_begin_ns"]) / 1e6,
    )
    derived["padded_tokens"] = [
        padded_tokens(tokens, params.graph_capture_sizes, mode)
        for tokens, mode in zip(derived["num_tokens"], derived["graph_mode"], strict=True)
    ]
    ends = {"interval_ms": "update_end_ns", "result_interval_ms": "update_begin_ns"}
    for name, end_ns in ends.items():
        derived[name] = ((derived[end_ns] - derived[end_ns].shift(1)) / 1e6).where(follows)
    derived["previous_graph_mode"] = derived["graph_mode"].shift(1).where(follows)
    next_follows = follows.shift(-1, fill_value=False)
    next_schedule = derived["schedule_begin_ns"].shift(-1).where(next_follows)
    if not params.async_scheduling:
        derived["execute_ms"] = (derived["update_begin_ns"] - derived["schedule_end_ns"]) / 1e6
        derived["gap_ms"] = (next_schedule - derived["update_end_ns"]) / 1e6
        return derived
    previous_update = derived["update_begin_ns"].shift(1).where(follows)
    overlapped = (previous_update >= derived["schedule_end_ns"]).fillna(False)
    derived["wait_ms"] = ((previous_update - derived["schedule_end_ns"]) / 1e6).where(overlapped)
    gap_ms = (next_schedule - derived["update_end_ns"].shift(1)) / 1e6
    derived["gap_ms"] = gap_ms.where(overlapped)
    alone = ~overlapped & (next_schedule < derived["update_begin_ns"])
    derived["launch_alone_ms"] = ((next_schedule - derived["schedule_end_ns"]) / 1e6).where(alone)
    # the step's result as the GPU gave it: only where nothing of the host's can have delayed it
    derived["gpu_end_ms"] = (derived["update_begin_ns"] - derived["schedule_end_ns"]) / 1e6
    derived["next_wait_ms"] = derived["wait_ms"].shift(-1).where(next_follows)
    derived["next_graph_mode"] = derived["graph_mode"].shift(-1).where(next_follows)
    return derived


def _decode_kv_tokens(steps: pd.DataFrame) -> pd.Series:
    """Of the context in a step that of its decoding requests: a chunk's follows from its pairs."""
    tokens, requests = steps["num_prefill_tokens"], steps["num_prefill_requests"]
    chunk = tokens / np.maximum(requests, 1)
    mean_context = steps["prefill_attention_pairs"] / np.maximum(tokens, 1) - (chunk + 1) / 2
    context = np.where(tokens > 0, np.maximum(0.0, mean_context), 0.0)
    return np.maximum(steps["kv_tokens"] - requests * (context + chunk), 0.0)


def _follows(steps: pd.DataFrame) -> pd.Series:
    """Whether a row is the step right after the row before it, in the same burst."""
    before = steps[["burst", "step"]].shift(1)
    return (steps["burst"] == before["burst"]) & (steps["step"] == before["step"] + 1)

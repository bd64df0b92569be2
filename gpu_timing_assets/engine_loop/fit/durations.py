"""What the fits need of each step of the bursts: durations, and the time of its kernels."""

import numpy as np
import pandas as pd

from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.engine_loop.cuda_graphs import padded_tokens
from gpu_timing_assets.engine_loop.kernels import KernelTimes, StepContent


def derive_steps(steps: pd.DataFrame, params: EngineParams, kernels: KernelTimes) -> pd.DataFrame:
    """`step_durations` with the kernel time of each step: `kernel_ms`, and of it
    `decode_attention_ms`; `decode_kv_tokens` is the context of its decoding requests.
    """
    derived = step_durations(steps, params)
    derived["decode_kv_tokens"] = _decode_kv_tokens(derived)
    contents = list(derived[list(StepContent.__annotations__)].itertuples(index=False))
    derived["kernel_ms"] = [kernels.step_ms(content) for content in contents]
    derived["decode_attention_ms"] = [
        kernels.decode_attention_ms(content.num_decode_requests, content.decode_kv_tokens)
        for content in contents
    ]
    return derived


def step_durations(steps: pd.DataFrame, params: EngineParams) -> pd.DataFrame:
    """`burst_steps` with what the fits need: durations in ms, times in ns on the steps' clock.

    Adds `num_requests`, `with_prompt` (1 of a step with prompt tokens, else 0), `num_tokens`,
    `padded_tokens`; the parts of `host.HostTiming`: `schedule_ms`, `dispatch_ms`, `execute_ms`,
    `sample_ms`, `result_ms`, `update_ms`, `gap_ms`;
    `after_idle`: whether the engine had nothing in flight; `gpu_free_ns`: when the GPU was done
    with the step before in the same burst, 0 if there is none. A part that the recording does not
    show of a step is null: `result_ms` where the loop did not wait with nothing else to do,
    `gap_ms` of a turn behind which the engine was idle.
    """
    steps = steps.sort_values(["burst", "step"]).reset_index(drop=True)
    follows = _follows(steps)
    next_follows = follows.shift(-1, fill_value=False)
    derived = steps.assign(
        num_requests=steps["num_decode_requests"] + steps["num_prefill_requests"],
        with_prompt=(steps["num_prefill_requests"] > 0).astype(int),
        num_tokens=steps["num_decode_requests"] + steps["num_prefill_tokens"],
        schedule_ms=_ms(steps["schedule_begin_ns"], steps["schedule_end_ns"]),
        execute_ms=_ms(steps["execute_begin_ns"], steps["execute_end_ns"]),
        sample_ms=_ms(steps["execute_end_ns"], steps["sample_end_ns"]),
        update_ms=_ms(steps["update_begin_ns"], steps["update_end_ns"]),
        gpu_free_ns=steps["gpu_end_ns"].shift(1).where(follows, 0),
    )
    derived["padded_tokens"] = [
        padded_tokens(tokens, params.graph_capture_sizes, mode)
        for tokens, mode in zip(derived["num_tokens"], derived["graph_mode"], strict=True)
    ]
    next_schedule = steps["schedule_begin_ns"].shift(-1).where(next_follows)
    if not params.async_scheduling:
        # its requests come one by one; in other bursts each step follows the one before it
        alone = (steps["kind"] == "idle") & (steps["num_prefill_requests"] > 0)
        derived["after_idle"] = alone | ~follows
        derived["dispatch_ms"] = _ms(steps["schedule_end_ns"], steps["execute_begin_ns"])
        derived["result_ms"] = _ms(steps["sample_end_ns"], steps["update_begin_ns"])
        derived["gap_ms"] = _ms(steps["update_end_ns"], next_schedule)
    else:
        _add_async(derived, follows, next_schedule, params.tensor_parallel_size > 1)
    derived["gap_ms"] = derived["gap_ms"].where(~derived["after_idle"].shift(-1, fill_value=True))
    return derived


def _add_async(
    derived: pd.DataFrame, follows: pd.Series, next_schedule: pd.Series, workers_apart: bool
) -> None:
    """`after_idle`, `dispatch_ms`, `result_ms`, `gap_ms` of an asynchronous engine."""
    previous = derived[["update_begin_ns", "update_end_ns", "gpu_end_ns", "sample_end_ns"]].shift(1)
    # the result of the step before was taken up behind the launch of this one
    overlapped = follows & (previous["update_begin_ns"] >= derived["schedule_end_ns"])
    derived["after_idle"] = ~overlapped
    free_ns = previous["sample_end_ns"].where(follows & workers_apart, 0)
    ready_ns = np.maximum(derived["schedule_end_ns"], free_ns)
    derived["dispatch_ms"] = _ms(ready_ns, derived["execute_begin_ns"])
    handed_over_ns = derived["schedule_end_ns" if workers_apart else "sample_end_ns"]
    there_ns = np.maximum(handed_over_ns, previous["gpu_end_ns"])
    taken_up_ms = _ms(there_ns, previous["update_begin_ns"]).where(overlapped)
    derived["result_ms"] = taken_up_ms.shift(-1)
    turn_end_ns = previous["update_end_ns"].where(overlapped, handed_over_ns)
    derived["gap_ms"] = _ms(turn_end_ns, next_schedule)


def _ms(begin_ns: pd.Series, end_ns: pd.Series) -> pd.Series:
    duration: pd.Series = (end_ns - begin_ns) / 1e6
    return duration


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

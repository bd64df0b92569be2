"""Everything that a step costs beyond its kernels, fitted on the bursts of one bundle.

The picture (vLLM V1, one Python loop): a step is scheduled, prepared and launched; with
asynchronous scheduling the result of step k is awaited and processed only after step k+1 was
launched; without, the loop waits for it at once.

    async:  schedule k │ launch k │ wait for k−1 │ update k−1 │ gap │ schedule k+1 │ …
    sync:   schedule k │ execute k              │ update k   │ gap │ schedule k+1 │ …

A full CUDA graph starts on the GPU when its launch ends; a piecewise or eager step starts when its
inputs are prepared and cannot end before its launch does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.errors import ProfilingBundleError
from gpu_timing_assets.engine_loop.fit_rows import fit_rows
from gpu_timing_assets.engine_loop.gpu_times import GpuScale, fit_gpu_scale, steady_decode_steps
from gpu_timing_assets.engine_loop.host_times import MIN_ROWS, FittedTime, fit_time
from gpu_timing_assets.engine_loop.kernel_times import KernelTimes, StepShape
from gpu_timing_assets.engine_loop.padding import padded_tokens

REQUEST_FEATURES = ("num_decode_requests", "num_prefill_requests")
LAUNCH_FEATURES = ("num_tokens", "num_requests")
EXECUTE_FEATURES = ("kernel_ms", "num_requests")


@dataclass(frozen=True)
class EngineTiming:
    """The host, pipeline and edges of one target. `launch` by graph mode: for a synchronous engine
    its whole execution.

    The first step of an engine that had nothing to do is another matter: it begins `wake_up_ms`
    late, its launch finds caches cold (`launch_after_idle`, by graph mode) and its result a client
    that sleeps (`client_out_after_idle`).
    """

    schedule: FittedTime
    update: FittedTime
    gap: FittedTime
    launch: dict[str, FittedTime]
    launch_after_idle: dict[str, FittedTime]
    gpu: GpuScale
    wake_up_ms: float
    client_in: FittedTime
    client_out_first: FittedTime
    client_out_spread: FittedTime
    client_out_after_idle: FittedTime


def fit_engine_timing(
    steps: pd.DataFrame, requests: pd.DataFrame, params: EngineParams, kernels: KernelTimes
) -> EngineTiming:
    """Fit all of it on a bundle's `burst_steps` and `burst_requests`.

    Raises `ProfilingBundleError` if the bursts hold too few steps of a kind.
    """
    derived = derive_steps(steps, params, kernels)
    rows = {name: found.rows for name, found in fit_rows(derived, requests).items()}
    try:
        schedule = fit_time(derived, REQUEST_FEATURES, "schedule_ms")
        update = fit_time(derived, REQUEST_FEATURES, "update_ms")
        gap = fit_time(rows["gap"], ("num_requests",), "gap_ms")
        if params.async_scheduling:
            launch, gpu = _fit_async(derived)
            launch_features, launch_ms = LAUNCH_FEATURES, "launch_alone_ms"
        else:
            launch_features, launch_ms = EXECUTE_FEATURES, "execute_ms"
            launch = _by_mode(derived.dropna(subset=[launch_ms]), launch_features, launch_ms)
            gpu = GpuScale.none()
        launch_after_idle = _by_mode(
            rows["after_idle"].dropna(subset=[launch_ms]), launch_features, launch_ms
        )
        client_out_after_idle = fit_time(
            rows["client_out_after_idle"], ("num_outputs",), "out_first_ms"
        )
        client_in, wake_up_ms = _fit_client_in(rows["client_in"], derived, requests)
        client_out_first = fit_time(rows["client_out"], ("num_outputs",), "out_first_ms")
        client_out_spread = fit_time(rows["client_out_spread"], ("num_outputs",), "out_spread_ms")
    except ValueError as error:
        raise ProfilingBundleError(
            f"the bursts of this bundle cannot be fitted: {error}: profile again (`vidur-profile "
            f"--force`), on a machine that "
            "is not busy or with a larger burst grid"
        ) from None
    return EngineTiming(
        schedule=schedule,
        update=update,
        gap=gap,
        launch=launch,
        launch_after_idle=launch_after_idle,
        gpu=gpu,
        wake_up_ms=wake_up_ms,
        client_in=client_in,
        client_out_first=client_out_first,
        client_out_spread=client_out_spread,
        client_out_after_idle=client_out_after_idle,
    )


def derive_steps(steps: pd.DataFrame, params: EngineParams, kernels: KernelTimes) -> pd.DataFrame:
    """`step_durations` with the kernel time of each step: `kernel_ms`, and of it
    `decode_attention_ms`.

    `previous_kernel_ms` is of the step before in the same burst.
    """
    derived = step_durations(steps, params)
    shapes = _shapes(derived)
    derived["kernel_ms"] = [kernels.step_ms(shape) for shape in shapes]
    derived["decode_attention_ms"] = [
        kernels.decode_attention_ms(shape.num_decode_requests, shape.decode_kv_tokens)
        for shape in shapes
    ]
    derived["previous_kernel_ms"] = derived["kernel_ms"].shift(1).where(_follows(derived))
    return derived


def _follows(steps: pd.DataFrame) -> "pd.Series[bool]":
    """Whether a row is the step right after the row before it, in the same burst."""
    return steps["burst"].eq(steps["burst"].shift(1)) & (
        steps["step"] == steps["step"].shift(1) + 1
    )


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
    derived["interval_ms"] = (
        (derived["update_end_ns"] - derived["update_end_ns"].shift(1)) / 1e6
    ).where(follows)
    derived["result_interval_ms"] = (
        (derived["update_begin_ns"] - derived["update_begin_ns"].shift(1)) / 1e6
    ).where(follows)
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
    derived["gap_ms"] = ((next_schedule - derived["update_end_ns"].shift(1)) / 1e6).where(
        overlapped
    )
    alone = ~overlapped & (next_schedule < derived["update_begin_ns"])
    derived["launch_alone_ms"] = ((next_schedule - derived["schedule_end_ns"]) / 1e6).where(alone)
    # the step's result as the GPU gave it: only where nothing of the host's can have delayed it
    derived["gpu_end_ms"] = (derived["update_begin_ns"] - derived["schedule_end_ns"]) / 1e6
    derived["next_wait_ms"] = derived["wait_ms"].shift(-1).where(next_follows)
    derived["next_graph_mode"] = derived["graph_mode"].shift(-1).where(next_follows)
    return derived


def decode_kv_tokens(
    kv_tokens: np.ndarray,
    prefill_tokens: np.ndarray,
    prefill_requests: np.ndarray,
    pairs: np.ndarray,
) -> np.ndarray:
    """Of `kv_tokens` of context in a step, those of its decoding requests: a chunk's context
    follows from its pairs.
    """
    chunk = prefill_tokens / np.maximum(prefill_requests, 1)
    context = np.where(
        prefill_tokens > 0,
        np.maximum(0.0, pairs / np.maximum(prefill_tokens, 1) - (chunk + 1) / 2),
        0.0,
    )
    return np.maximum(kv_tokens - prefill_requests * (context + chunk), 0.0)


def _shapes(derived: pd.DataFrame) -> list[StepShape]:
    decode_kv = decode_kv_tokens(
        *(
            derived[name].to_numpy()
            for name in (
                "kv_tokens",
                "num_prefill_tokens",
                "num_prefill_requests",
                "prefill_attention_pairs",
            )
        )
    )
    return [
        StepShape(*row)
        for row in zip(
            derived["num_prefill_tokens"],
            derived["num_prefill_requests"],
            derived["prefill_attention_pairs"],
            derived["num_decode_requests"],
            decode_kv,
            derived["num_outputs"],
            derived["padded_tokens"],
            strict=True,
        )
    ]


def _fit_async(derived: pd.DataFrame) -> tuple[dict[str, FittedTime], GpuScale]:
    steady = steady_decode_steps(derived)
    launch: dict[str, FittedTime] = {}
    mixed = derived[(derived["graph_mode"] != "full") & (derived["kind"] != "decode")]
    # a launch is seen where it ends after the decode step before it must have ended, or where there
    # is no step before
    behind_decode = (mixed["previous_graph_mode"] == "full") & (
        mixed["wait_ms"] > 1.3 * mixed["previous_kernel_ms"]
    )
    seen = mixed["wait_ms"].where(behind_decode)
    launch |= _by_mode(
        mixed.assign(launch_ms=seen).dropna(subset=["launch_ms"]), LAUNCH_FEATURES, "launch_ms"
    )
    full = steady[steady["host_bound"]]
    if len(full) < MIN_ROWS:
        # the GPU paces every decode step here: a full graph's launch shows only behind a step that
        # its own launch had delayed
        after = derived[
            (derived["graph_mode"] == "full")
            & derived["previous_graph_mode"].isin(["piecewise", "eager"])
            & derived["wait_ms"].notna()
        ]
        full = after[after["wait_ms"] <= after["wait_ms"].quantile(0.5)]
    launch["full"] = fit_time(full.assign(launch_ms=full["wait_ms"]), LAUNCH_FEATURES, "launch_ms")
    return launch, fit_gpu_scale(derived, steady, launch)


def _by_mode(rows: pd.DataFrame, features: Sequence[str], target_ms: str) -> dict[str, FittedTime]:
    """A fit for each graph mode with enough rows."""
    return {
        mode: fit_time(group, features, target_ms)
        for mode, group in rows.groupby("graph_mode")
        if len(group) >= MIN_ROWS
    }


def _fit_client_in(
    to_idle: pd.DataFrame, derived: pd.DataFrame, requests: pd.DataFrame
) -> tuple[FittedTime, float]:
    """The edge from the planned arrival into an engine that is running, and how much longer an idle
    one takes (ms).

    A running engine takes a request at the first schedule after it has come in, so each request
    bounds the edge from both sides: it had not come in at the schedule before, and had at its own.
    The level that most requests agree with is taken; the spread is that of requests to an idle
    engine.
    """
    idle = fit_time(to_idle, ("num_prefill_tokens",), "in_ms")
    busy = requests[requests["kind"].isin(["inject", "storm"]) & (requests["num_in_flight"] > 0)]
    begins = np.sort(derived["schedule_begin_ns"].to_numpy())
    own = busy["first_schedule_begin_ns"].to_numpy()
    before = begins[np.maximum(np.searchsorted(begins, own) - 1, 0)]
    lower, upper = (before - busy["arrival_ns"]) / 1e6, (own - busy["arrival_ns"]) / 1e6
    known = (before < own) & (upper > 0)
    if known.sum() < MIN_ROWS:
        return idle, 0.0
    levels = np.arange(0.05, 8.0, 0.05)
    agree = (
        (lower[known].to_numpy()[:, None] < levels) & (levels <= upper[known].to_numpy()[:, None])
    ).sum(axis=0)
    level_ms = min(float(np.median(levels[agree == agree.max()])), idle.coefficients[0])
    running = FittedTime(
        idle.features, (level_ms, *idle.coefficients[1:]), idle.ratios, idle.num_rows
    )
    return running, idle.coefficients[0] - level_ms

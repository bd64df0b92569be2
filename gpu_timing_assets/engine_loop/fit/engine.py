"""Fits an `EngineTiming` on the bursts of one bundle."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.errors import ProfilingBundleError
from gpu_timing_assets.engine_loop.client import ClientTiming
from gpu_timing_assets.engine_loop.fit.durations import derive_steps
from gpu_timing_assets.engine_loop.fit.fit_time import MIN_ROWS, fit_time
from gpu_timing_assets.engine_loop.fit.gpu import fit_gpu_scale, steady_decode_steps
from gpu_timing_assets.engine_loop.fit.rows import fit_rows
from gpu_timing_assets.engine_loop.fitted_time import FittedTime
from gpu_timing_assets.engine_loop.gpu import GpuScale
from gpu_timing_assets.engine_loop.host import HostTiming
from gpu_timing_assets.engine_loop.kernels import KernelTimes
from gpu_timing_assets.engine_loop.loop_timing import EngineTiming

REQUEST_FEATURES = ("num_decode_requests", "num_prefill_requests")
LAUNCH_FEATURES = ("num_tokens", "num_requests")
EXECUTE_FEATURES = ("kernel_ms", "num_requests")


def fit_engine_timing(
    steps: pd.DataFrame, requests: pd.DataFrame, params: EngineParams, kernels: KernelTimes
) -> EngineTiming:
    """Fit all of it on a bundle's `burst_steps` and `burst_requests`.

    Raises `ProfilingBundleError` if the bursts hold too few steps of a kind.
    """
    derived = derive_steps(steps, params, kernels)
    rows = {name: found.rows for name, found in fit_rows(derived, requests).items()}
    try:
        if params.async_scheduling:
            launch, gpu = _fit_async(derived)
            launch_features, launch_ms = LAUNCH_FEATURES, "launch_alone_ms"
        else:
            launch_features, launch_ms = EXECUTE_FEATURES, "execute_ms"
            launch = _by_mode(derived.dropna(subset=[launch_ms]), launch_features, launch_ms)
            gpu = GpuScale.none()
        after_idle = rows["after_idle"].dropna(subset=[launch_ms])
        request_in, wake_up_ms = _fit_request_in(rows["client_in"], derived, requests)
        host = HostTiming(
            schedule=fit_time(derived, REQUEST_FEATURES, "schedule_ms"),
            launch=launch,
            launch_after_idle=_by_mode(after_idle, launch_features, launch_ms),
            update=fit_time(derived, REQUEST_FEATURES, "update_ms"),
            gap=fit_time(rows["gap"], ("num_requests",), "gap_ms"),
            wake_up_ms=wake_up_ms,
        )
        return EngineTiming(host, gpu, _fit_client(request_in, rows))
    except ValueError as error:
        raise ProfilingBundleError(
            f"the bursts of this bundle cannot be fitted: {error}: profile again (`vidur-profile "
            f"--force`), on a machine that is not busy or with a larger burst grid"
        ) from None


def _fit_client(request_in: FittedTime, rows: Mapping[str, pd.DataFrame]) -> ClientTiming:
    def fit(name: str, target_ms: str) -> FittedTime:
        return fit_time(rows[name], ("num_outputs",), target_ms)

    return ClientTiming(
        request_in=request_in,
        first_token_out=fit("client_out", "out_first_ms"),
        first_token_out_after_idle=fit("client_out_after_idle", "out_first_ms"),
        token_spread=fit("client_out_spread", "out_spread_ms"),
    )


def _fit_async(derived: pd.DataFrame) -> tuple[dict[str, FittedTime], GpuScale]:
    steady = steady_decode_steps(derived)
    mixed = derived[(derived["graph_mode"] != "full") & (derived["kind"] != "decode")]
    # a launch shows where it outlasts the decode step before it, or where there is none
    behind_decode = (mixed["previous_graph_mode"] == "full") & (
        mixed["wait_ms"] > 1.3 * mixed["previous_kernel_ms"]
    )
    seen = mixed.assign(launch_ms=mixed["wait_ms"].where(behind_decode))
    launch = _by_mode(seen.dropna(subset=["launch_ms"]), LAUNCH_FEATURES, "launch_ms")
    full = steady[steady["host_bound"]]
    if len(full) < MIN_ROWS:
        # the GPU paces all decode steps: a full graph's launch shows behind a step launched late
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


def _fit_request_in(
    to_idle: pd.DataFrame, derived: pd.DataFrame, requests: pd.DataFrame
) -> tuple[FittedTime, float]:
    """Client latency into an engine that is running, and how much longer an idle one takes (ms).

    A running engine takes a request at the first schedule after it has come in, so each request
    bounds it from both sides: it had not come in at the schedule before, and had at its own.
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
    above, below = lower[known].to_numpy()[:, None], upper[known].to_numpy()[:, None]
    agree = ((above < levels) & (levels <= below)).sum(axis=0)
    level_ms = min(float(np.median(levels[agree == agree.max()])), idle.coefficients[0])
    running = replace(idle, coefficients=(level_ms, *idle.coefficients[1:]))
    return running, idle.coefficients[0] - level_ms

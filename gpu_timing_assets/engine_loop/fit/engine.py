"""Fits an `EngineTiming` on the bursts of one bundle."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.errors import ProfilingBundleError
from gpu_timing_assets.engine_loop.client import ClientTiming
from gpu_timing_assets.engine_loop.fit.durations import derive_steps
from gpu_timing_assets.engine_loop.fit.fit_time import MIN_ROWS, fit_time
from gpu_timing_assets.engine_loop.fit.gpu import FittedFactor, fit_gpu_scale
from gpu_timing_assets.engine_loop.fit.host import fit_host_timing
from gpu_timing_assets.engine_loop.fit.rows import HELD_OUT, fit_rows
from gpu_timing_assets.engine_loop.fitted_time import FittedTime
from gpu_timing_assets.engine_loop.gpu import GpuScale
from gpu_timing_assets.engine_loop.kernels import KernelTimes
from gpu_timing_assets.engine_loop.loop_timing import EngineTiming


def fit_engine_timing(
    steps: pd.DataFrame, requests: pd.DataFrame, params: EngineParams, kernels: KernelTimes
) -> EngineTiming:
    """Fit all of it on a bundle's `burst_steps` and `burst_requests`.

    Raises `ProfilingBundleError` if the bursts hold too few steps of a kind.
    """
    return fit_with_report(steps, requests, params, kernels)[0]


def fit_with_report(
    steps: pd.DataFrame, requests: pd.DataFrame, params: EngineParams, kernels: KernelTimes
) -> tuple[EngineTiming, dict[str, FittedFactor]]:
    """As `fit_engine_timing`, and what the factors on the GPU's kernels rest on, by name."""
    fitted = steps[steps["kind"] != HELD_OUT]
    asked = requests[requests["kind"] != HELD_OUT]
    derived = derive_steps(fitted, params, kernels)
    rows = {name: found.rows for name, found in fit_rows(derived, asked).items()}
    try:
        request_in, wake_up_ms = _fit_request_in(rows["client_in"], derived, asked)
        host = fit_host_timing(derived, rows, params, wake_up_ms)
        gpu, factors = fit_gpu_scale(derived) if params.async_scheduling else (GpuScale.none(), {})
        return EngineTiming(host, gpu, _fit_client(request_in, rows)), factors
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

"""Fits an `EngineTiming` on the bursts of one bundle."""

import pandas as pd

from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.errors import ProfilingBundleError
from gpu_timing_assets.engine_loop.fit.client import fit_client_timing
from gpu_timing_assets.engine_loop.fit.durations import derive_steps
from gpu_timing_assets.engine_loop.fit.gpu import FittedFactor, fit_gpu_scale
from gpu_timing_assets.engine_loop.fit.host import fit_host_timing
from gpu_timing_assets.engine_loop.fit.rows import HELD_OUT, fit_rows
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
        client, wake_up_ms = fit_client_timing(derived, asked, rows)
        host = fit_host_timing(derived, rows, params, wake_up_ms)
        gpu, factors = fit_gpu_scale(derived) if params.async_scheduling else (GpuScale.none(), {})
        return EngineTiming(host, gpu, client), factors
    except ValueError as error:
        raise ProfilingBundleError(
            f"the bursts of this bundle cannot be fitted: {error}: profile again (`vidur-profile "
            f"--force`), on a machine that is not busy or with a larger burst grid"
        ) from None

"""Requests a second that were served as fast as they should be."""

import numpy as np
import numpy.typing as npt

from gpu_timing_assets.metrics.metric import Objective, PerRun
from gpu_timing_assets.metrics.resampling import Weights
from gpu_timing_assets.metrics.served import FloatArray, ServedRun
from gpu_timing_assets.metrics.tpot import tpot_ms
from gpu_timing_assets.metrics.ttft import ttft_ms


def met(run: ServedRun, objective: Objective) -> npt.NDArray[np.bool_]:
    """Which requests keep both objectives; shape (requests,). No TPOT keeps it."""
    return (ttft_ms(run) <= objective.ttft_ms) & ~(tpot_ms(run) > objective.tpot_ms)


def good_per_s(run: ServedRun, objective: Objective) -> float:
    return float(met(run, objective).sum()) / run.duration_s


def resampled_good_per_s(run: ServedRun, weights: Weights, objective: Objective) -> FloatArray:
    good: FloatArray = np.matmul(weights, met(run, objective).astype(np.float64))
    return good / run.duration_s


METRIC = PerRun(
    name="goodput",
    unit="requests/s",
    definition="requests within both objectives (TTFT and TPOT) / (last token − first planned "
    "arrival); a request of one token is judged on its TTFT",
    order=60,
    lower_is_better=False,
    compute=good_per_s,
    resample=resampled_good_per_s,
)

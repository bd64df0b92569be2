"""Time per output token."""

import numpy as np

from gpu_timing_assets.metrics.metric import PerRequest
from gpu_timing_assets.metrics.served import FloatArray, ServedRun


def tpot_ms(run: ServedRun) -> FloatArray:
    gaps = run.grid.tokens - 1
    return np.where(gaps > 0, (run.last_ns - run.first_ns) / np.maximum(gaps, 1) / 1e6, np.nan)


METRIC = PerRequest(
    name="TPOT",
    unit="ms",
    definition="(last token − first token) / (tokens − 1) of a request; a request of one token has "
    "none",
    order=30,
    headline=("mean",),
    compute=tpot_ms,
)

"""Inter-token latency."""

import numpy as np

from gpu_timing_assets.core.run import TOKEN_TIMES
from gpu_timing_assets.metrics.metric import PerToken
from gpu_timing_assets.metrics.served import FloatArray, IntArray, ServedRun


def itl_ms(run: ServedRun) -> FloatArray:
    within = np.ones(max(len(run.token_time_ns) - 1, 0), dtype=bool)
    within[run.grid.first_row[1:] - 1] = False
    intervals_ns: IntArray = np.diff(run.token_time_ns)[within]
    return intervals_ns / 1e6


METRIC = PerToken(
    name="ITL",
    unit="ms",
    definition="time between consecutive tokens of one request, pooled over all tokens but each "
    "request's first",
    order=20,
    needs=frozenset({TOKEN_TIMES}),
    compute=itl_ms,
)

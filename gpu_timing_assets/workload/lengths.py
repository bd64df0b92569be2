"""How many tokens the prompts and the outputs have: a length process, a stream and a count give
whole token counts.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gpu_timing_assets.workload.exact_math import exp, log, normal_quantile

if TYPE_CHECKING:
    from gpu_timing_assets.config.workload import (
        LengthProcess,
        LognormalLengths,
        UniformLengths,
        ZipfLengths,
    )
    from gpu_timing_assets.workload.random_streams import RandomStream

Counts = NDArray[np.int64]


def draw_lengths(
    process: "LengthProcess", stream: "RandomStream", count: int, observed: Counts | None = None
) -> Counts:
    """`count` token counts, shape (count,), each at least 1. `observed` is what an `empirical`
    process draws from.
    """
    if process.kind == "fixed":
        return np.full(count, process.tokens, dtype=np.int64)
    if process.kind == "uniform":
        return _uniform(process, stream, count)
    if process.kind == "lognormal":
        return _lognormal(process, stream, count)
    if process.kind == "zipf":
        return _zipf(process, stream, count)
    assert observed is not None, "an empirical process needs what was observed"
    drawn = observed[(stream.uniform(count) * len(observed)).astype(np.int64)]
    return np.clip(drawn, process.minimum, process.maximum)


def _uniform(process: "UniformLengths", stream: "RandomStream", count: int) -> Counts:
    span = process.maximum - process.minimum + 1
    return process.minimum + (stream.uniform(count) * span).astype(np.int64)


def _lognormal(process: "LognormalLengths", stream: "RandomStream", count: int) -> Counts:
    logarithm = log(process.median) + process.sigma * normal_quantile(stream.uniform(count))
    # clipped before it is rounded, so that a wide tail cannot leave the integers
    return np.rint(
        np.clip(exp(np.clip(logarithm, -1.0, 40.0)), process.minimum, process.maximum)
    ).astype(np.int64)


def _zipf(process: "ZipfLengths", stream: "RandomStream", count: int) -> Counts:
    """P(k) ∝ k^−exponent for minimum ≤ k ≤ maximum."""
    values = np.arange(process.minimum, process.maximum + 1, dtype=np.int64)
    cumulative = np.cumsum(exp(-process.exponent * log(values.astype(np.float64))))
    return values[np.searchsorted(cumulative, stream.uniform(count) * cumulative[-1], side="left")]

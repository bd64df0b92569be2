"""A statistic of every bootstrap resample at once.

Nothing is sorted twice: a resample is a weight for every request. A metric's values are put once
into bins of the pooled sample, finest around the quantiles asked for, as a matrix requests × bins;
weights × matrix gives every resample's histogram.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gpu_timing_assets.metrics.percentiles import STATISTICS, quantile_of
from gpu_timing_assets.metrics.served import FloatArray, IntArray

MAX_BINS = 2048
REQUESTS_AT_ONCE = 4096
Weights = npt.NDArray[np.uint8]
"""How often each request is drawn in each resample; shape (resamples, requests)."""


def weighted_statistics(
    values: FloatArray, owner: IntArray, weights: Weights, names: Sequence[str] = STATISTICS
) -> dict[str, FloatArray]:
    """Mean and percentiles of `values` when the value's owner is drawn `weights[resample, owner]`
    times; shapes (resamples,).

    `values`, `owner`: shape (values,), `owner` ascending. Exact, with linear interpolation between
    order statistics, where there are no more than `MAX_BINS` different values; otherwise a value
    stands for its bin by the bin's mean. A resample that drew no value gives NaN.
    """
    quantiles = {name: quantile_of(name) for name in names if name != "mean"}
    centres, bin_of = _bins(values, list(quantiles.values()))
    histogram = _histograms(owner, bin_of, weights, len(centres))
    below = np.cumsum(histogram, axis=1, dtype=np.float64)
    total = below[:, -1]
    statistics: dict[str, FloatArray] = {}
    if "mean" in names:
        with np.errstate(invalid="ignore"):
            statistics["mean"] = histogram @ centres / np.where(total > 0, total, np.nan)
    # every row lifted above the one before it, so that one binary search finds a rank's bin in all
    # rows at once
    lift = np.arange(len(weights)) * (total.max() + 1)
    lifted = (below + lift[:, None]).ravel()
    row_start = np.arange(len(weights)) * len(centres)

    def value_at(rank: FloatArray) -> FloatArray:
        found = np.searchsorted(lifted, rank + lift, side="right") - row_start
        values: FloatArray = centres[found.clip(max=len(centres) - 1)]
        return values

    for name, quantile in quantiles.items():
        position = np.maximum(total - 1, 0) * quantile
        rank = np.floor(position)
        lower, upper = value_at(rank), value_at(np.minimum(rank + 1, np.maximum(total - 1, 0)))
        statistics[name] = np.where(total > 0, lower + (position - rank) * (upper - lower), np.nan)
    return statistics


def _bins(values: FloatArray, quantiles: list[float]) -> tuple[FloatArray, IntArray]:
    """The bins' means, and which bin each value is in."""
    distinct, bin_of = np.unique(values, return_inverse=True)
    if len(distinct) <= MAX_BINS:
        return distinct, bin_of
    ranks = [np.linspace(0, 1, MAX_BINS // 2)]
    ranks += [np.clip(q + np.linspace(-0.02, 0.02, MAX_BINS // 8), 0, 1) for q in quantiles]
    edges = np.unique(np.quantile(values, np.unique(np.concatenate(ranks)), method="inverted_cdf"))
    bin_of = np.searchsorted(edges, values, side="left")
    counts = np.bincount(bin_of, minlength=len(edges))
    centres = np.bincount(bin_of, weights=values, minlength=len(edges)) / np.maximum(counts, 1)
    return centres, bin_of


def _histograms(
    owner: IntArray, bin_of: IntArray, weights: Weights, bins: int
) -> npt.NDArray[np.float32]:
    """How many values of each bin every resample drew; shape (resamples, bins)."""
    histogram = np.zeros((len(weights), bins), dtype=np.float32)
    for start in range(0, weights.shape[1], REQUESTS_AT_ONCE):
        begin, end = np.searchsorted(owner, (start, start + REQUESTS_AT_ONCE))
        block = weights[:, start : start + REQUESTS_AT_ONCE].astype(np.float32)
        cells = (owner[begin:end] - start) * bins + bin_of[begin:end]
        counts = np.bincount(cells, minlength=block.shape[1] * bins).reshape(block.shape[1], bins)
        histogram += block @ counts.astype(np.float32)
    return histogram

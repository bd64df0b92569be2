"""Intervals of the errors: resample the requests, each with all its tokens, and the real runs.

Percentile bootstrap (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13),
clustered: tokens of one request are not independent, so whole requests are drawn. The same drawn
requests are used on every side, since the runs served the same requests. Of K real runs, K − 1 are
drawn (McCarthy & Snowden 1985): drawing K of so few would understate how much they differ.

Nothing is sorted twice: a resample is a weight for every request. Each metric's values are put once
into bins of the pooled sample, finest around the quantiles asked for, as a matrix requests × bins;
weights × matrix gives every resample's histogram at once.
"""

import numpy as np

from gpu_timing_assets.compare.gate.align import Aligned, Series
from gpu_timing_assets.compare.judge.statistics import LATENCIES, QUANTILES, Objective

MAX_BINS = 2048
REQUESTS_AT_ONCE = 4096
Figures = dict[tuple[str, str], np.ndarray]


def request_weights(requests: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each request is drawn in each resample; shape (resamples, requests), rows sum to
    `requests`.
    """
    weights = np.empty((resamples, requests), dtype=np.uint8)
    for row in weights:
        row[:] = np.bincount(rng.integers(0, requests, requests), minlength=requests)
    return weights


def error_intervals(
    aligned: Aligned,
    objective: Objective,
    *,
    resamples: int,
    seed: int,
    confidence_pct: float,
) -> dict[str, dict[tuple[str, str], tuple[float, float]]]:
    """For each simulation's label, `(metric, statistic)` → (low, high) of its signed error in
    percent.

    A figure is left out where there is nothing to resample: one request, or, for the throughput (a
    figure of a run as a whole, whose requests cannot be drawn), one real run.
    """
    rng = np.random.default_rng(seed)
    runs = len(aligned.real)
    drawn_runs = rng.integers(0, runs, (resamples, max(runs - 1, 1)))
    run_weights = (
        np.stack([np.bincount(row, minlength=runs) for row in drawn_runs]) / drawn_runs.shape[1]
    )
    weights = request_weights(len(aligned.grid), resamples, rng)
    real = [resampled_figures(series, weights, objective) for series in aligned.real]
    tails = (50 - confidence_pct / 2, 50 + confidence_pct / 2)
    intervals: dict[str, dict[tuple[str, str], tuple[float, float]]] = {}
    for series in aligned.simulated:
        simulated = resampled_figures(series, weights, objective)
        intervals[series.label] = {}
        for key, values in simulated.items():
            if len(aligned.grid) < 2 and not (key[0] == "throughput" and runs > 1):
                continue
            if key[0] == "throughput" and runs < 2:
                continue
            with np.errstate(divide="ignore", invalid="ignore"):
                reference = (
                    np.stack([figures[key] for figures in real], axis=1) * run_weights
                ).sum(axis=1)
                errors = 100.0 * (values - reference) / reference
            if np.isfinite(errors).all():
                low, high = np.percentile(errors, tails)
                intervals[series.label][key] = (float(low), float(high))
    return intervals


def resampled_figures(series: Series, weights: np.ndarray, objective: Objective) -> Figures:
    """Every `(metric, statistic)` of one run under each resample; arrays of shape (resamples,)."""
    requests = np.arange(len(series.grid))
    figures: Figures = {}
    for metric in LATENCIES:
        if metric.name == "ITL":
            values, owner = series.itl_ms, series.grid.interval_owner
        else:
            per_request = {"TTFT": series.ttft_ms, "TPOT": series.tpot_ms, "E2E": series.e2e_ms}[
                metric.name
            ]
            defined = ~np.isnan(per_request)
            values, owner = per_request[defined], requests[defined]
        if len(values):
            drawn = weighted_statistics(values, owner, weights)
            figures.update({(metric.name, name): resampled for name, resampled in drawn.items()})
    good = weights @ objective.met(series).astype(np.float64)
    figures["goodput", "rate"] = good / series.duration_s
    figures["throughput", "rate"] = np.full(
        len(weights), len(series.token_time_ns) / series.duration_s
    )
    return figures


def weighted_statistics(
    values: np.ndarray, owner: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Mean and quantiles of `values` when the value's owner is drawn `weights[resample, owner]`
    times.

    `values`, `owner`: shape (values,), `owner` ascending. Exact, with linear interpolation between
    order statistics, where there are no more than `MAX_BINS` different values; otherwise a value
    stands for its bin by the bin's mean. A resample that drew no value gives NaN.
    """
    centres, bin_of = _bins(values)
    histogram = np.zeros((len(weights), len(centres)), dtype=np.float32)
    for start in range(0, weights.shape[1], REQUESTS_AT_ONCE):
        begin, end = np.searchsorted(owner, (start, start + REQUESTS_AT_ONCE))
        block = weights[:, start : start + REQUESTS_AT_ONCE].astype(np.float32)
        cells = (owner[begin:end] - start) * len(centres) + bin_of[begin:end]
        counts = np.bincount(cells, minlength=block.shape[1] * len(centres)).reshape(
            block.shape[1], len(centres)
        )
        histogram += block @ counts.astype(np.float32)
    below = np.cumsum(histogram, axis=1, dtype=np.float64)
    total = below[:, -1]
    statistics = {}
    with np.errstate(invalid="ignore"):
        statistics["mean"] = histogram @ centres / np.where(total > 0, total, np.nan)
    # every row lifted above the one before it, so that one binary search finds a rank's bin in all
    # rows at once
    lift = np.arange(len(weights)) * (total.max() + 1)
    lifted = (below + lift[:, None]).ravel()
    row_start = np.arange(len(weights)) * len(centres)

    def value_at(rank: np.ndarray) -> np.ndarray:
        found = np.searchsorted(lifted, rank + lift, side="right") - row_start
        return centres[found.clip(max=len(centres) - 1)]

    for name, quantile in QUANTILES.items():
        position = np.maximum(total - 1, 0) * quantile
        rank = np.floor(position)
        lower, upper = value_at(rank), value_at(np.minimum(rank + 1, np.maximum(total - 1, 0)))
        statistics[name] = np.where(total > 0, lower + (position - rank) * (upper - lower), np.nan)
    return statistics


def _bins(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    distinct, bin_of = np.unique(values, return_inverse=True)
    if len(distinct) <= MAX_BINS:
        return distinct, bin_of
    ranks = [np.linspace(0, 1, MAX_BINS // 2)]
    ranks += [
        np.clip(q + np.linspace(-0.02, 0.02, MAX_BINS // 8), 0, 1) for q in QUANTILES.values()
    ]
    edges = np.unique(np.quantile(values, np.unique(np.concatenate(ranks)), method="inverted_cdf"))
    bin_of = np.searchsorted(edges, values, side="left")
    counts = np.bincount(bin_of, minlength=len(edges))
    centres = np.bincount(bin_of, weights=values, minlength=len(edges)) / np.maximum(counts, 1)
    return centres, bin_of

"""Intervals of the errors: resample the requests, each with all its tokens, and the real runs.

Percentile bootstrap (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13),
clustered: tokens of one request are not independent, so whole requests are drawn. The same drawn
requests are used on every side, since the runs served the same requests. Of K real runs, K − 1 are
drawn (McCarthy & Snowden 1985): drawing K of so few would understate how much they differ.
"""

from collections.abc import Sequence

import numpy as np

from gpu_timing_assets.compare.gate.align import Aligned
from gpu_timing_assets.config.comparison import ComparisonPreset
from gpu_timing_assets.metrics.metric import Metric, Objective
from gpu_timing_assets.metrics.resampling import Weights

Interval = tuple[float, float]


def request_weights(requests: int, resamples: int, rng: np.random.Generator) -> Weights:
    """How often each request is drawn in each resample; shape (resamples, requests)."""
    weights = np.empty((resamples, requests), dtype=np.uint8)
    for row in weights:
        row[:] = np.bincount(rng.integers(0, requests, requests), minlength=requests)
    return weights


def error_intervals(
    aligned: Aligned, metrics: Sequence[Metric], objective: Objective, preset: ComparisonPreset
) -> dict[str, dict[tuple[str, str], Interval]]:
    """For each simulation's label, `(metric, statistic)` → (low, high) of its signed error in
    percent.

    A figure is left out where there is nothing to resample: one request, or, for a metric of a run
    as a whole, one real run.
    """
    rng = np.random.default_rng(preset.bootstrap_seed)
    runs, resamples = len(aligned.real), preset.bootstrap_resamples
    drawn_runs = rng.integers(0, runs, (resamples, max(runs - 1, 1)))
    run_weights = (
        np.stack([np.bincount(row, minlength=runs) for row in drawn_runs]) / drawn_runs.shape[1]
    )
    weights = request_weights(len(aligned.grid), resamples, rng)
    tails = (50 - preset.confidence_pct / 2, 50 + preset.confidence_pct / 2)
    intervals: dict[str, dict[tuple[str, str], Interval]] = {
        simulated.label: {} for simulated in aligned.simulated
    }
    for metric in metrics:
        if (runs if metric.of_whole_run else len(aligned.grid)) < 2:
            continue
        real = [metric.resampled(run, weights, objective) for run in aligned.real]
        if not all(real):  # undefined in one of them
            continue
        for simulated in aligned.simulated:
            for name, values in metric.resampled(simulated, weights, objective).items():
                reference = np.stack([figures[name] for figures in real], axis=1) * run_weights
                with np.errstate(divide="ignore", invalid="ignore"):
                    errors = 100.0 * (values - reference.sum(axis=1)) / reference.sum(axis=1)
                if np.isfinite(errors).all():
                    low, high = np.percentile(errors, tails)
                    intervals[simulated.label][metric.name, name] = (float(low), float(high))
    return intervals

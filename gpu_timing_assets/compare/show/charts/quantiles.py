"""The curves of a latency that the charts of distributions draw."""

import numpy as np

from gpu_timing_assets.compare.gate.align import Aligned
from gpu_timing_assets.metrics.metric import Distribution


def quantile_curves(
    aligned: Aligned, metric: Distribution, levels: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]] | None:
    """The metric's quantiles at `levels`: of each real run, shape (runs, levels), and of each
    simulation that has it by label; `None` where there is nothing to draw.

    Zeros (tokens that came together) are drawn at the smallest positive value, so that a
    logarithmic axis can show them.
    """
    if not len(metric.values(aligned.real[0])):
        return None
    simulations = [run for run in aligned.simulated if len(metric.values(run))]
    curves = np.stack(
        [np.quantile(metric.values(run), levels) for run in (*aligned.real, *simulations)]
    )
    positive = curves[curves > 0]
    if len(positive):
        curves = np.maximum(curves, positive.min())
    real, simulated = curves[: len(aligned.real)], curves[len(aligned.real) :]
    return real, {run.label: row for run, row in zip(simulations, simulated, strict=True)}

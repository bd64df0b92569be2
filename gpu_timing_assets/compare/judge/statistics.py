"""The figures of a run, and how far two of them lie apart."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from gpu_timing_assets.compare.gate.align import Aligned
from gpu_timing_assets.compare.result_table import METRIC, STATISTIC, Column, table
from gpu_timing_assets.metrics.metric import Metric, Objective
from gpu_timing_assets.metrics.served import ServedRun

REAL_RUNS = table(
    "real_runs",
    Column("run_id", "the real run"),
    METRIC,
    STATISTIC,
    Column("unit", "unit of value"),
    Column("value", "the run's statistic", "unit"),
)


def run_statistics(
    run: ServedRun, metrics: Iterable[Metric], objective: Objective
) -> dict[tuple[str, str], float]:
    """Every `(metric, statistic)` of one run, in the metric's unit; NaN where it is undefined."""
    return {
        (metric.name, name): value
        for metric in metrics
        for name, value in metric.figures(run, objective).items()
    }


def real_run_table(
    aligned: Aligned, metrics: Iterable[Metric], objective: Objective
) -> pd.DataFrame:
    """Every statistic of each real run."""
    return REAL_RUNS.frame(
        dict(
            run_id=real.run.meta.run_id,
            metric=metric.name,
            statistic=name,
            unit=metric.unit,
            value=value,
        )
        for real in aligned.real
        for metric in metrics
        for name, value in metric.figures(real, objective).items()
    )


def error_pct(simulated: float, real: float) -> float | None:
    """100 · (simulated − real) / real; `None` where that is not defined."""
    if not np.isfinite(real) or not np.isfinite(simulated) or real == 0:
        return None
    return 100.0 * (simulated - real) / real


def noise_pct(real: list[float]) -> float | None:
    """The largest difference of two real runs, in percent of their mean; `None` of one run."""
    if len(real) < 2 or not np.isfinite(real).all() or not np.mean(real):
        return None
    return float(100.0 * (max(real) - min(real)) / abs(np.mean(real)))

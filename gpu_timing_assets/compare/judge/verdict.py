"""The verdict: each statistic, its error, interval and noise, and whether that is good enough."""

from collections.abc import Sequence

from gpu_timing_assets.compare.gate.align import Aligned, AlignedRun
from gpu_timing_assets.compare.judge.bootstrap import error_intervals
from gpu_timing_assets.compare.judge.statistics import error_pct, noise_pct, run_statistics
from gpu_timing_assets.compare.result_table import ERROR_PCT, OF_STATISTIC, Column, table
from gpu_timing_assets.config.comparison import ComparisonPreset
from gpu_timing_assets.core.comparison import BELOW_NOISE, FAIL, PASS, UNDEFINED, WARN, VerdictRow
from gpu_timing_assets.core.run import SimRunMeta
from gpu_timing_assets.metrics.metric import Metric, Objective

VERDICT = table(
    "verdict",
    *OF_STATISTIC,
    Column("unit", "unit of real and simulated"),
    Column("real", "mean over the real runs of each run's own statistic", "unit"),
    Column("simulated", "the simulation's statistic", "unit"),
    ERROR_PCT,
    Column("low_pct", "lower end of the error's bootstrap interval", "%"),
    Column("high_pct", "upper end of the error's bootstrap interval", "%"),
    Column("noise_pct", "largest difference between two real runs, of their mean", "%"),
    Column(
        "prediction_noise_pct",
        "largest difference between what bundles of this target, measured one after another, "
        "predict of the same bursts, of its mean",
        "%",
    ),
    Column("verdict", "below noise, pass, warn, fail, or undefined without an error"),
)


def verdict(error: float | None, noise: float | None, preset: ComparisonPreset) -> str:
    """`below noise` if the real runs differ as much, else by the bounds on the absolute error."""
    if error is None:
        return UNDEFINED
    if noise is not None and abs(error) <= noise:
        return BELOW_NOISE
    if abs(error) <= preset.pass_pct:
        return PASS
    return WARN if abs(error) <= preset.warn_pct else FAIL


def judge(
    aligned: Aligned, metrics: Sequence[Metric], objective: Objective, preset: ComparisonPreset
) -> list[VerdictRow]:
    """One row for every simulation, metric and statistic.

    The real value is the mean over the real runs of each run's own statistic, so that a slow run
    weighs no more than a fast one.
    """
    real_runs = [run_statistics(run, metrics, objective) for run in aligned.real]
    intervals = error_intervals(aligned, metrics, objective, preset)
    rows = []
    for simulation in aligned.simulated:
        simulated = run_statistics(simulation, metrics, objective)
        spread_pct = _prediction_spread_pct(simulation)
        for metric in metrics:
            for name in metric.statistics:
                key = (metric.name, name)
                each = [figures[key] for figures in real_runs]
                real = sum(each) / len(each)
                error, noise = error_pct(simulated[key], real), noise_pct(each)
                low, high = intervals[simulation.label].get(key, (None, None))
                rows.append(
                    VerdictRow(
                        simulation=simulation.label,
                        metric=metric.name,
                        statistic=name,
                        unit=metric.unit,
                        real=real,
                        simulated=simulated[key],
                        error_pct=error,
                        low_pct=low,
                        high_pct=high,
                        noise_pct=noise,
                        prediction_noise_pct=spread_pct.get(f"{metric.name} {name}"),
                        verdict=verdict(error, noise, preset),
                    )
                )
    return rows


def _prediction_spread_pct(simulation: AlignedRun) -> dict[str, float]:
    meta = simulation.run.meta
    return (isinstance(meta, SimRunMeta) and meta.prediction_spread_pct) or {}

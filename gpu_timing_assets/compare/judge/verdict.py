"""The verdict: each statistic real and simulated, its error, interval and noise, and whether that
is good enough.
"""

from gpu_timing_assets.compare.gate.align import Aligned
from gpu_timing_assets.compare.judge.bootstrap import error_intervals
from gpu_timing_assets.compare.judge.statistics import (
    METRICS,
    Objective,
    error_pct,
    noise_pct,
    run_statistics,
)
from gpu_timing_assets.compare.results import BELOW_NOISE, FAIL, PASS, UNDEFINED, WARN, VerdictRow
from gpu_timing_assets.config.comparison import ComparisonPreset


def verdict(error: float | None, noise: float | None, preset: ComparisonPreset) -> str:
    """`below noise` if the real runs differ at least as much, else by the preset's bounds on the
    absolute error.
    """
    if error is None:
        return UNDEFINED
    if noise is not None and abs(error) <= noise:
        return BELOW_NOISE
    if abs(error) <= preset.pass_pct:
        return PASS
    return WARN if abs(error) <= preset.warn_pct else FAIL


def judge(aligned: Aligned, preset: ComparisonPreset) -> list[VerdictRow]:
    """One row for every simulation, metric and statistic.

    The real value is the mean over the real runs of each run's own statistic, so that a slow run
    weighs no more than a fast one.
    """
    objective = Objective(preset.ttft_objective_ms, preset.tpot_objective_ms)
    real_runs = [run_statistics(series, objective) for series in aligned.real]
    intervals = error_intervals(
        aligned,
        objective,
        resamples=preset.bootstrap_resamples,
        seed=preset.bootstrap_seed,
        confidence_pct=preset.confidence_pct,
    )
    rows = []
    for series in aligned.simulated:
        simulated = run_statistics(series, objective)
        for metric in METRICS:
            for name in metric.statistics:
                key = (metric.name, name)
                each = [figures[key] for figures in real_runs]
                real = sum(each) / len(each)
                error, noise = error_pct(simulated[key], real), noise_pct(each)
                low, high = intervals[series.label].get(key, (None, None))
                rows.append(
                    VerdictRow(
                        series.label,
                        metric.name,
                        name,
                        metric.unit,
                        real,
                        simulated[key],
                        error,
                        low,
                        high,
                        noise,
                        verdict(error, noise, preset),
                    )
                )
    return rows

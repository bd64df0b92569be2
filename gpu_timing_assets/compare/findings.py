"""Everything a comparison finds out, as tables, before anything is drawn or written."""

from dataclasses import dataclass

import pandas as pd

from gpu_timing_assets.compare.explain.attribution import attribute
from gpu_timing_assets.compare.explain.batch_agreement import batch_agreement
from gpu_timing_assets.compare.explain.breakdown import grouped_errors, phase_errors
from gpu_timing_assets.compare.explain.distances import (
    distribution_distances,
    request_pairs,
    request_table,
)
from gpu_timing_assets.compare.explain.host_speed import host_speed
from gpu_timing_assets.compare.explain.over_time import load_over_time
from gpu_timing_assets.compare.gate.align import Aligned
from gpu_timing_assets.compare.judge.statistics import METRICS, Objective, run_statistics
from gpu_timing_assets.compare.judge.verdict import judge
from gpu_timing_assets.compare.results import VerdictRow
from gpu_timing_assets.config.comparison import ComparisonPreset


@dataclass(frozen=True)
class Findings:
    """`verdicts` of every judged simulation; `tables` by the stem of their file."""

    primary_simulation: str
    verdicts: tuple[VerdictRow, ...]
    tables: dict[str, pd.DataFrame]


def find_out(aligned: Aligned, preset: ComparisonPreset, *, primary: str) -> Findings:
    """Judge and explain the aligned runs; `primary` is the label of the simulation that is
    judged.
    """
    rows = judge(aligned, preset)
    objective = Objective(preset.ttft_objective_ms, preset.tpot_objective_ms)
    batches, first_difference = batch_agreement(aligned)
    tables = {
        "verdict": pd.DataFrame([vars(row) for row in rows]),
        "real_runs": real_run_table(aligned, objective),
        "distances": distribution_distances(aligned),
        "request_pairs": request_pairs(aligned),
        "requests": request_table(aligned),
        "phases": phase_errors(aligned),
        "grouped_errors": grouped_errors(aligned),
        "attribution": attribute(aligned, objective),
        "batch_agreement": batches,
        "first_difference": first_difference,
        "host_speed": host_speed(aligned, primary),
        "load_over_time": load_over_time(aligned),
        "completeness": aligned.completeness,
        "excluded_requests": aligned.excluded,
    }
    return Findings(primary, tuple(rows), tables)


def real_run_table(aligned: Aligned, objective: Objective) -> pd.DataFrame:
    """Every statistic of each real run: `run_id`, `metric`, `statistic`, `unit`, `value`."""
    rows = []
    for series in aligned.real:
        figures = run_statistics(series, objective)
        rows += [
            (series.run.meta.run_id, metric.name, name, metric.unit, figures[metric.name, name])
            for metric in METRICS
            for name in metric.statistics
        ]
    return pd.DataFrame(rows, columns=["run_id", "metric", "statistic", "unit", "value"])

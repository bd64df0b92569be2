"""Everything that a comparison finds, as tables, before anything is drawn or written."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from gpu_timing_assets.compare.explain.attribution import ATTRIBUTION, attribute
from gpu_timing_assets.compare.explain.batch_agreement import (
    BATCH_AGREEMENT,
    FIRST_DIFFERENCE,
    batch_agreement,
)
from gpu_timing_assets.compare.explain.distances import DISTANCES, distribution_distances
from gpu_timing_assets.compare.explain.grouped import GROUPED_ERRORS, grouped_errors
from gpu_timing_assets.compare.explain.host_speed import HOST_SPEED, host_speed
from gpu_timing_assets.compare.explain.over_time import LOAD_OVER_TIME, load_over_time
from gpu_timing_assets.compare.explain.phases import PHASES, phase_errors
from gpu_timing_assets.compare.explain.request_pairs import (
    REQUEST_PAIRS,
    request_pairs,
    request_table,
    requests_with,
)
from gpu_timing_assets.compare.gate.align import Aligned
from gpu_timing_assets.compare.gate.completeness import (
    COMPLETENESS,
    EXCLUDED,
    completeness,
    excluded_requests,
)
from gpu_timing_assets.compare.judge.statistics import REAL_RUNS, real_run_table
from gpu_timing_assets.compare.judge.verdict import VERDICT, judge, verdict_table
from gpu_timing_assets.compare.result_table import ResultTable
from gpu_timing_assets.config.comparison import ComparisonPreset
from gpu_timing_assets.core.comparison import VerdictRow
from gpu_timing_assets.metrics.metric import Metric, Objective


@dataclass(frozen=True)
class Findings:
    """`judged` is the label of the simulation that is judged; `verdicts` are of every simulation
    without a substitution.
    """

    judged: str
    metrics: tuple[Metric, ...]
    verdicts: tuple[VerdictRow, ...]
    tables: dict[ResultTable, pd.DataFrame]

    def of_judged(self, table: ResultTable) -> pd.DataFrame:
        frame = self.tables[table]
        return frame[frame["simulation"] == self.judged]

    @property
    def judged_rows(self) -> list[VerdictRow]:
        return [row for row in self.verdicts if row.simulation == self.judged]


def judge_and_explain(
    aligned: Aligned, metrics: Sequence[Metric], preset: ComparisonPreset, *, judged: str
) -> Findings:
    objective = Objective(preset.ttft_objective_ms, preset.tpot_objective_ms)
    rows = judge(aligned, metrics, objective, preset)
    batches, first_difference = batch_agreement(aligned)
    tables = {
        VERDICT: verdict_table(rows),
        REAL_RUNS: real_run_table(aligned, metrics, objective),
        DISTANCES: distribution_distances(aligned, metrics),
        REQUEST_PAIRS: request_pairs(aligned, metrics),
        requests_with(metrics): request_table(aligned, metrics),
        PHASES: phase_errors(aligned),
        GROUPED_ERRORS: grouped_errors(aligned, metrics),
        ATTRIBUTION: attribute(aligned, metrics, objective),
        BATCH_AGREEMENT: batches,
        FIRST_DIFFERENCE: first_difference,
        HOST_SPEED: host_speed(aligned, judged),
        LOAD_OVER_TIME: load_over_time(aligned),
        COMPLETENESS: completeness(aligned),
        EXCLUDED: excluded_requests(aligned),
    }
    return Findings(judged, tuple(metrics), tuple(rows), tables)

"""Everything that a comparison finds, as tables, before anything is drawn or written."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from gpu_timing_assets.compare.explain import (
    attribution,
    batch_agreement,
    distances,
    grouped,
    host_speed,
    over_time,
    phases,
    request_pairs,
)
from gpu_timing_assets.compare.gate import completeness
from gpu_timing_assets.compare.gate.align import Aligned
from gpu_timing_assets.compare.judge import statistics, verdict
from gpu_timing_assets.compare.result_table import ResultTable
from gpu_timing_assets.config.comparison import ComparisonPreset
from gpu_timing_assets.core.comparison import VerdictRow
from gpu_timing_assets.metrics.metric import Metric, Objective


@dataclass(frozen=True)
class Findings:
    """`judged`: the judged simulation's label; `verdicts`: of every plain simulation."""

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
    rows = verdict.judge(aligned, metrics, objective, preset)
    batches, first_difference = batch_agreement.batch_agreement(aligned)
    requests = request_pairs.request_table(aligned, metrics)
    tables = {
        verdict.VERDICT: verdict.VERDICT.frame(vars(row) for row in rows),
        statistics.REAL_RUNS: statistics.real_run_table(aligned, metrics, objective),
        distances.DISTANCES: distances.distribution_distances(aligned, metrics),
        request_pairs.REQUEST_PAIRS: request_pairs.request_pairs(aligned, metrics),
        request_pairs.requests_with(metrics): requests,
        phases.PHASES: phases.phase_errors(aligned),
        grouped.GROUPED_ERRORS: grouped.grouped_errors(aligned, metrics),
        attribution.ATTRIBUTION: attribution.attribute(aligned, metrics, objective),
        batch_agreement.BATCH_AGREEMENT: batches,
        batch_agreement.FIRST_DIFFERENCE: first_difference,
        host_speed.HOST_SPEED: host_speed.host_speed(aligned, judged),
        over_time.LOAD_OVER_TIME: over_time.load_over_time(aligned),
        completeness.COMPLETENESS: completeness.completeness(aligned),
        completeness.EXCLUDED: completeness.excluded_requests(aligned),
    }
    return Findings(judged, tuple(metrics), tuple(rows), tables)

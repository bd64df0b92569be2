"""All comparisons at a glance: where the simulator can be believed and where not, and which
comparisons are not there.

A comparison is `current` if the runs it read are those that would be compared now; `stale` if they
changed, went or were joined by others; of one that is not there, `missing` says what to run,
`refused` why the gate would refuse it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gpu_timing_assets.compare.gate.admission import admit
from gpu_timing_assets.compare.gate.load import read_metas
from gpu_timing_assets.compare.result_table import write_csv
from gpu_timing_assets.compare.show.matrix_page import headline_columns, write_matrix_page
from gpu_timing_assets.config.comparison import ComparisonPreset
from gpu_timing_assets.core.comparison import (
    BELOW_NOISE,
    FAIL,
    PASS,
    REPORT_FILE,
    WARN,
    ComparisonInputs,
    ComparisonResult,
    MatrixResult,
    load_result,
)
from gpu_timing_assets.core.data_root import DataRoot
from gpu_timing_assets.core.directories import atomic_directory
from gpu_timing_assets.core.errors import ArtifactError, GpuTimingError
from gpu_timing_assets.core.files import file_sha256
from gpu_timing_assets.core.run import RUN_META_FILE
from gpu_timing_assets.core.store import Store
from gpu_timing_assets.core.target import Target, comparison_id
from gpu_timing_assets.metrics.metric import Metric
from gpu_timing_assets.metrics.registry import all_metrics

PAGE_FILE = "fidelity_matrix.html"
CURRENT, STALE, MISSING, REFUSED = "current", "stale", "missing", "refused"
COUNTED = {"passed": PASS, "below_noise": BELOW_NOISE, "warned": WARN, "failed": FAIL}
ERROR_COLUMNS = (
    *("comparison_id", "simulation", "metric", "statistic", "error_pct", "low_pct", "high_pct"),
    *("noise_pct", "prediction_noise_pct", "verdict", "mean_running_requests"),
)


@dataclass(frozen=True, order=True)
class Subject:
    """What a comparison is of: one workload on one target."""

    workload_id: str
    target: Target

    @property
    def comparison_id(self) -> str:
        return comparison_id(self.workload_id, self.target)


def build(data: DataRoot, out: Path) -> MatrixResult:
    """Write `fidelity_matrix.html` and `tables/` from everything below `data` to `out`."""
    store, metrics = Store(data), all_metrics()
    finished = [load_result(run.directory) for run in store.comparisons]
    rows = [_row(result, *_state(store, result), metrics) for result in finished]
    there = {row["comparison_id"] for row in rows}
    absent = [subject for subject in _subjects(store) if subject.comparison_id not in there]
    rows += [_absent_row(store, subject, metrics) for subject in absent]
    rows.sort(key=lambda row: row["comparison_id"])
    errors = _errors(finished)
    with atomic_directory(out) as scratch:
        (scratch / "tables").mkdir()
        for name, frame in (("comparisons", pd.DataFrame(rows)), ("errors", errors)):
            write_csv(frame, scratch / "tables" / f"{name}.csv")
        write_matrix_page(scratch / PAGE_FILE, rows, errors, metrics)
    tables = {name: out / "tables" / f"{name}.csv" for name in ("comparisons", "errors")}
    return MatrixResult(directory=out, page=out / PAGE_FILE, rows=tuple(rows), tables=tables)


def _errors(finished: Sequence[ComparisonResult]) -> pd.DataFrame:
    rows = []
    for result in finished:
        meta = result.meta
        where = dict(comparison_id=meta.run_id, mean_running_requests=meta.mean_running_requests)
        rows += [{**where, **vars(row)} for row in result.verdicts]
    return pd.DataFrame(rows, columns=list(ERROR_COLUMNS))


def _row(
    result: ComparisonResult, state: str, why: str, metrics: Sequence[Metric]
) -> dict[str, Any]:
    meta, counts = result.meta, result.counts()
    errors = {(row.metric, row.statistic): row.error_pct for row in result.judged_rows}
    return {
        "comparison_id": meta.run_id,
        **_subject(meta.workload_id, meta.target, state, why),
        "judged_simulation": result.primary_simulation,
        "simulations": ", ".join(meta.simulations),
        "real_runs": len(meta.real_run_ids),
        "mean_running_requests": round(meta.mean_running_requests, 3),
        **{column: counts.get(verdict, 0) for column, verdict in COUNTED.items()},
        **{column: errors.get(key) for key, column in headline_columns(metrics).items()},
        "report": f"../comparisons/{result.directory.name}/{REPORT_FILE}",
    }


def _absent_row(store: Store, subject: Subject, metrics: Sequence[Metric]) -> dict[str, Any]:
    return {
        "comparison_id": subject.comparison_id,
        **_subject(subject.workload_id, subject.target, *_why_absent(store, subject)),
        "judged_simulation": None,
        "simulations": "",
        "real_runs": 0,
        "mean_running_requests": None,
        **dict.fromkeys(COUNTED, 0),
        **dict.fromkeys(headline_columns(metrics).values()),
        "report": None,
    }


def _subject(workload_id: str, target: Target, state: str, why: str) -> dict[str, Any]:
    return {"workload_id": workload_id, **vars(target), "state": state, "why": why}


def _subjects(store: Store) -> list[Subject]:
    """Every workload and target that has a run on either side, by name."""
    real = {Subject(run.meta.workload_id, run.meta.target) for run in store.real_runs}
    simulated = {Subject(run.meta.workload_id, run.meta.target) for run in store.sim_runs}
    return sorted(real | simulated)


def _why_absent(store: Store, subject: Subject) -> tuple[str, str]:
    work = (subject.workload_id, subject.target)
    try:
        real, simulated = store.real_runs_of(*work), store.sim_runs_of(*work)
    except ArtifactError as error:
        return MISSING, str(error)
    if not real:
        if invalid := store.invalid_real_runs(*work):
            return REFUSED, f"its {len(invalid)} real runs are invalid: run real-bench again"
        return MISSING, "no real run of the workload as it is now: run real-bench"
    if not simulated:
        return MISSING, "no simulation of the workload as it is now: run vidur-sim"
    try:
        metas = read_metas(ComparisonInputs(real, simulated), allow_invalid=False)
        admit(*metas, ComparisonPreset())
    except GpuTimingError as error:
        return REFUSED, str(error)
    return MISSING, "both sides are there: run compare-runs"


def _state(store: Store, result: ComparisonResult) -> tuple[str, str]:
    """Whether the comparison is of what is there now, and what changed if not."""
    meta, data = result.meta, store.data
    # runs from elsewhere (the shipped reference data) were chosen by hand: no other of this data
    # root takes their place
    elsewhere = {entry.name for entry in meta.inputs if not _run_dir(data, entry.name)}
    changed = [
        entry.name
        for entry in meta.inputs
        if _digest(_run_dir(data, entry.name) or Path(entry.path)) != entry.run_meta_sha256
    ]
    if changed:
        return STALE, f"{_names(changed)} changed or went since: run compare-runs"
    work = (meta.workload_id, meta.target)
    try:
        now = {path.name for path in (*store.real_runs_of(*work), *store.sim_runs_of(*work))}
    except ArtifactError:
        return CURRENT, "the workload itself is not here: only the runs were checked"
    read = {entry.name for entry in meta.inputs}
    if gone := sorted(read - now - elsewhere):
        why = "would not be compared now (workload or settings changed): run compare-runs"
        return STALE, f"{_names(gone)} {why}"
    if new := sorted(now - read):
        return STALE, f"{_names(new)} came since: run compare-runs"
    return CURRENT, ""


def _run_dir(data: DataRoot, run_name: str) -> Path | None:
    """The run's directory in this data root, if it is there."""
    candidates = (data.path / parent / run_name for parent in ("real_runs", "vidur_runs"))
    return next((path for path in candidates if (path / RUN_META_FILE).is_file()), None)


def _digest(directory: Path) -> str | None:
    path = directory / RUN_META_FILE
    return file_sha256(path) if path.is_file() else None


def _names(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")

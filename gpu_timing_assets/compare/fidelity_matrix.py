"""All comparisons at a glance: where the simulator can be believed and where not, and which
comparisons are not there.

A comparison is `current` if the runs it read are those that would be compared now; `stale` if they
changed, went or were joined by others; of one that is not there, `missing` says what to run,
`refused` why the gate would refuse it.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gpu_timing_assets.compare.gate.load import read_metas
from gpu_timing_assets.compare.gate.parity import sift
from gpu_timing_assets.compare.results import (
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
from gpu_timing_assets.compare.show.matrix_page import write_matrix_page
from gpu_timing_assets.config.comparison import ComparisonPreset
from gpu_timing_assets.core.data_root import DataRoot
from gpu_timing_assets.core.directories import atomic_directory
from gpu_timing_assets.core.errors import ArtifactError, GpuTimingError
from gpu_timing_assets.core.run import RUN_META_FILE
from gpu_timing_assets.core.store import Store
from gpu_timing_assets.core.target import Target, comparison_id

PAGE_FILE = "fidelity_matrix.html"
CURRENT, STALE, MISSING, REFUSED = "current", "stale", "missing", "refused"
SHOWN = (
    ("TTFT", "p50"),
    ("TTFT", "p90"),
    ("TTFT", "p99"),
    ("ITL", "p50"),
    ("ITL", "p90"),
    ("ITL", "p99"),
    ("TPOT", "mean"),
    ("E2E", "p50"),
    ("E2E", "p90"),
    ("E2E", "p99"),
    ("throughput", "rate"),
    ("goodput", "rate"),
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
    store = Store(data)
    finished = [load_result(run.directory) for run in store.comparisons]
    rows = [_row(result, *_state(store, result)) for result in finished]
    there = {row["comparison_id"] for row in rows}
    absent = [subject for subject in _subjects(store) if subject.comparison_id not in there]
    rows += [_absent_row(store, subject) for subject in absent]
    rows.sort(key=lambda row: row["comparison_id"])
    errors = pd.DataFrame(
        [
            (
                result.meta.run_id,
                row.simulation,
                row.metric,
                row.statistic,
                row.error_pct,
                row.low_pct,
                row.high_pct,
                row.noise_pct,
                row.verdict,
                result.meta.mean_running_requests,
            )
            for result in finished
            for row in result.verdicts
        ],
        columns=[
            "comparison_id",
            "simulation",
            "metric",
            "statistic",
            "error_pct",
            "low_pct",
            "high_pct",
            "noise_pct",
            "verdict",
            "mean_running_requests",
        ],
    )
    with atomic_directory(out) as scratch:
        (scratch / "tables").mkdir()
        for name, frame in (("comparisons", pd.DataFrame(rows)), ("errors", errors)):
            frame.to_csv(
                scratch / "tables" / f"{name}.csv",
                index=False,
                lineterminator="\n",
                float_format="%.9g",
            )
        write_matrix_page(scratch / PAGE_FILE, rows, errors, SHOWN)
    tables = {name: out / "tables" / f"{name}.csv" for name in ("comparisons", "errors")}
    return MatrixResult(directory=out, page=out / PAGE_FILE, rows=tuple(rows), tables=tables)


def _row(result: ComparisonResult, state: str, why: str) -> dict[str, Any]:
    meta, counts = result.meta, result.counts()
    judged = {
        (row.metric, row.statistic): row
        for row in result.verdicts
        if row.simulation == result.primary_simulation
    }
    return {
        "comparison_id": meta.run_id,
        "workload_id": meta.workload_id,
        "model": meta.model,
        "hardware": meta.hardware,
        "backend": meta.backend,
        "state": state,
        "why": why,
        "judged_simulation": result.primary_simulation,
        "simulations": ", ".join(meta.simulations),
        "real_runs": len(meta.real_run_ids),
        "mean_running_requests": round(meta.mean_running_requests, 3),
        "passed": counts.get(PASS, 0),
        "below_noise": counts.get(BELOW_NOISE, 0),
        "warned": counts.get(WARN, 0),
        "failed": counts.get(FAIL, 0),
        **{
            f"{metric}_{name}_error_pct".lower(): judged[metric, name].error_pct
            if (metric, name) in judged
            else None
            for metric, name in SHOWN
        },
        "report": f"../comparisons/{result.directory.name}/{REPORT_FILE}",
    }


def _absent_row(store: Store, subject: Subject) -> dict[str, Any]:
    state, why = _why_absent(store, subject)
    return {
        "comparison_id": subject.comparison_id,
        "workload_id": subject.workload_id,
        "model": subject.target.model,
        "hardware": subject.target.hardware,
        "backend": subject.target.backend,
        "state": state,
        "why": why,
        "judged_simulation": None,
        "simulations": "",
        "real_runs": 0,
        "mean_running_requests": None,
        "passed": 0,
        "below_noise": 0,
        "warned": 0,
        "failed": 0,
        **{f"{metric}_{name}_error_pct".lower(): None for metric, name in SHOWN},
        "report": None,
    }


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
        sift(
            *read_metas(ComparisonInputs(real, simulated), allow_invalid=False),
            allow_mismatch=False,
            kv_blocks_tolerance_pct=ComparisonPreset().kv_blocks_tolerance_pct,
        )
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
        return (
            STALE,
            f"{_names(gone)} would not be compared now (workload or settings changed): run "
            "compare-runs",
        )
    if new := sorted(now - read):
        return STALE, f"{_names(new)} came since: run compare-runs"
    return CURRENT, ""


def _run_dir(data: DataRoot, run_name: str) -> Path | None:
    """The run's directory in this data root, if it is there."""
    candidates = (data.path / parent / run_name for parent in ("real_runs", "vidur_runs"))
    return next((path for path in candidates if (path / RUN_META_FILE).is_file()), None)


def _digest(directory: Path) -> str | None:
    path = directory / RUN_META_FILE
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _names(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")

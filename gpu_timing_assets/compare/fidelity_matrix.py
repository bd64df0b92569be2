"""All comparisons at a glance: where the simulator can be believed and where not, and which
comparisons are not there.

A comparison is `current` if the runs it read are those that would be compared now; `stale` if they
changed, went or were joined by others; of one that is not there, `missing` says what to run,
`refused` why the gate would refuse it."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gpu_timing_assets.compare.gate.find_runs import find_real_runs, find_sim_runs, finished_runs
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
from gpu_timing_assets.core.metadata import RUN_META_FILE, RunMeta

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


@dataclass(frozen=True)
class Subject:
    """What a comparison is of: one workload on one target."""

    workload_id: str
    model: str
    hardware: str
    backend: str

    @property
    def comparison_id(self) -> str:
        return (
            f"{self.workload_id}--{self.model}--{self.hardware}--{self.backend.replace('_', '-')}"
        )


def build(data: DataRoot, out: Path) -> MatrixResult:
    """Write `fidelity_matrix.html` and `tables/` from everything below `data` to `out`."""
    finished = [
        load_result(path)
        for path, meta in finished_runs(data.path / "comparisons")
        if meta.run_type == "compare"
    ]
    rows = [_row(result, *_state(data, result), data) for result in finished]
    there = {row["comparison_id"] for row in rows}
    rows += [
        _absent_row(data, subject)
        for subject in _subjects(data)
        if subject.comparison_id not in there
    ]
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
                result.meta.details["mean_running_requests"],
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


def _row(result: ComparisonResult, state: str, why: str, data: DataRoot) -> dict[str, Any]:
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
        "simulations": ", ".join(meta.details["simulations"]),
        "real_runs": len(meta.details["real_run_ids"]),
        "mean_running_requests": round(float(meta.details["mean_running_requests"]), 3),
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


def _absent_row(data: DataRoot, subject: Subject) -> dict[str, Any]:
    state, why = _why_absent(data, subject)
    return {
        "comparison_id": subject.comparison_id,
        "workload_id": subject.workload_id,
        "model": subject.model,
        "hardware": subject.hardware,
        "backend": subject.backend,
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


def _subjects(data: DataRoot) -> list[Subject]:
    """Every workload and target that has a run on either side, by name."""
    found = set()
    for _, meta in finished_runs(data.path / "real_runs", allow_invalid=True):
        if meta.run_type == "real" and meta.workload_id:
            found.add(Subject(meta.workload_id, meta.model, meta.hardware, meta.backend))
    for _, meta in finished_runs(data.path / "vidur_runs"):
        if meta.run_type == "vidur" and meta.workload_id and (backend := _backend_of(meta)):
            found.add(Subject(meta.workload_id, meta.model, meta.hardware, backend))
    return sorted(found, key=lambda subject: subject.comparison_id)


def _backend_of(simulation: RunMeta) -> str | None:
    prefix = f"{simulation.workload_id}--{simulation.model}--{simulation.hardware}--"
    if not simulation.run_id.startswith(prefix):
        return None
    return simulation.run_id.removeprefix(prefix).split("--")[0].replace("-", "_")


def _why_absent(data: DataRoot, subject: Subject) -> tuple[str, str]:
    target = (subject.workload_id, subject.model, subject.hardware, subject.backend)
    try:
        real, simulated = find_real_runs(data, *target), find_sim_runs(data, *target)
    except ArtifactError as error:
        return MISSING, str(error)
    if not real:
        invalid = [
            meta
            for _, meta in finished_runs(data.path / "real_runs", allow_invalid=True)
            if meta.status == "invalid"
            and (meta.workload_id, meta.model, meta.hardware, meta.backend) == target
        ]
        if invalid:
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


def _state(data: DataRoot, result: ComparisonResult) -> tuple[str, str]:
    """Whether the comparison is of what is there now, and what changed if not."""
    meta = result.meta
    inputs = meta.details["inputs"]
    read = {entry["name"]: entry["run_meta_sha256"] for entry in inputs}
    # runs from elsewhere (the shipped reference data) were chosen by hand: no other of this data
    # root takes their place
    elsewhere = {entry["name"] for entry in inputs if not _run_dir(data, entry["name"])}
    changed = [
        entry["name"]
        for entry in inputs
        if _digest(_run_dir(data, entry["name"]) or Path(entry["path"])) != entry["run_meta_sha256"]
    ]
    if changed:
        return STALE, f"{_names(changed)} changed or went since: run compare-runs"
    target = (str(meta.workload_id), meta.model, meta.hardware, meta.backend)
    try:
        now = {
            path.name for path in (*find_real_runs(data, *target), *find_sim_runs(data, *target))
        }
    except ArtifactError:
        return CURRENT, "the workload itself is not here: only the runs were checked"
    if gone := sorted(read.keys() - now - elsewhere):
        return (
            STALE,
            f"{_names(gone)} would not be compared now (workload or settings changed): run "
            f"compare-runs",
        )
    if new := sorted(now - read.keys()):
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

"""What a comparison reads and hands out: plain data, read back from its directory."""

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.manifest import verify_file
from gpu_timing_assets.core.run import ComparisonMeta, read_complete_run

PASS, BELOW_NOISE, WARN, FAIL, UNDEFINED = "pass", "below noise", "warn", "fail", "undefined"
VERDICTS = (PASS, BELOW_NOISE, WARN, FAIL, UNDEFINED)

REPORT_FILE = "report.html"
SUMMARY_FILE = "summary.md"
TIMELINE_FILE = "timeline.json"
VERDICT_TABLE = "verdict.csv"
# columns of `VERDICT_TABLE` that older comparisons lack
ADDED_COLUMNS = {"prediction_noise_pct"}


@dataclass(frozen=True)
class ComparisonInputs:
    """The directories of one workload's real runs on one target, and of its simulations; `unused`
    says of each other run that was found why it is not among them.
    """

    real_run_dirs: tuple[Path, ...]
    sim_run_dirs: tuple[Path, ...]
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class VerdictRow:
    """One statistic of one metric, real and simulated, in `unit`.

    `error_pct` is signed: 100 · (simulated − real) / real; `low_pct` and `high_pct` bound its
    bootstrap interval; `noise_pct` is how far two real runs lie apart by the same statistic,
    `prediction_noise_pct` how far the predictions of two bundles do, of the bundle's own bursts.
    `None` where a figure is not defined: no interval from one request, no noise from one run or
    bundle, no error of a real value of zero. A real or simulated value that is not defined is NaN.
    """

    simulation: str
    metric: str
    statistic: str
    unit: str
    real: float
    simulated: float
    error_pct: float | None
    low_pct: float | None
    high_pct: float | None
    noise_pct: float | None
    prediction_noise_pct: float | None = field(default=None, kw_only=True)
    verdict: str


def verdict_counts(rows: Iterable[VerdictRow]) -> dict[str, int]:
    found = [row.verdict for row in rows]
    return {verdict: found.count(verdict) for verdict in VERDICTS if verdict in found}


@dataclass(frozen=True)
class ComparisonResult:
    """A comparison on disk. `tables` and `figures` map a file's stem to its path; `notes` are what
    the report says above the figures (overridden mismatches, extrapolation, requests left out).
    """

    directory: Path
    meta: ComparisonMeta
    verdicts: tuple[VerdictRow, ...]
    tables: dict[str, Path]
    figures: dict[str, Path]
    notes: tuple[str, ...]

    @property
    def report(self) -> Path:
        return self.directory / REPORT_FILE

    @property
    def summary(self) -> Path:
        return self.directory / SUMMARY_FILE

    @property
    def timeline(self) -> Path:
        return self.directory / TIMELINE_FILE

    @property
    def primary_simulation(self) -> str:
        """The simulation that is judged."""
        return self.meta.primary_simulation

    @property
    def judged_rows(self) -> list[VerdictRow]:
        return [row for row in self.verdicts if row.simulation == self.primary_simulation]

    def counts(self) -> dict[str, int]:
        """How many statistics of the judged simulation got each verdict."""
        return verdict_counts(self.judged_rows)


@dataclass(frozen=True)
class MatrixResult:
    """The fidelity matrix on disk; `rows`: one a comparison, or one that is missing or refused."""

    directory: Path
    page: Path
    rows: tuple[dict[str, Any], ...]
    tables: dict[str, Path]


def load_result(directory: Path) -> ComparisonResult:
    """Read a finished comparison back. Raises `UnfinishedArtifactError` if it is not finished,
    `ArtifactError` if its verdicts are not as they were filed."""
    meta = read_complete_run(directory, ComparisonMeta)
    verify_file(directory, f"tables/{VERDICT_TABLE}")
    return ComparisonResult(
        directory=directory,
        meta=meta,
        verdicts=tuple(read_verdicts(directory / "tables" / VERDICT_TABLE)),
        tables={path.stem: path for path in sorted((directory / "tables").glob("*.csv"))},
        figures={path.stem: path for path in sorted((directory / "figs").glob("*.png"))},
        notes=meta.notes,
    )


def read_verdicts(path: Path) -> list[VerdictRow]:
    """Raises `ArtifactError` naming file and row where the table is not as it was written."""
    kinds = {field.name: field.type for field in fields(VerdictRow)}
    if not path.is_file():
        raise ArtifactError(f"{path} is missing: run compare-runs again")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            found, *lines = csv.reader(file, strict=True)
    except (OSError, ValueError, csv.Error) as error:
        raise ArtifactError(f"{path} is no CSV file: {error}: run compare-runs again") from None
    if found != [name for name in kinds if name in found or name not in ADDED_COLUMNS]:
        raise ArtifactError(
            f"{path}: columns are {found}, expected {list(kinds)}: run compare-runs again"
        )
    rows = []
    for number, cells in enumerate(lines, start=2):
        try:
            named = zip(found, cells, strict=True)
            rows.append(VerdictRow(**{name: _cell(cell, kinds[name]) for name, cell in named}))
            if rows[-1].verdict not in VERDICTS:
                raise ValueError(f"verdict {rows[-1].verdict!r} is none of {', '.join(VERDICTS)}")
        except ValueError as error:
            raise ArtifactError(f"{path}, row {number}: {error}") from None
    return rows


def _cell(text: str, kind: Any) -> Any:
    if kind is str:
        return text
    if not text:
        return math.nan if kind is float else None
    if math.isinf(value := float(text)):
        raise ValueError(f"{text} is not finite")
    return value

"""What a comparison hands to whoever shows it: plain data, read from the comparison's directory,
light to import.
"""

import csv
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.run import ComparisonMeta, read_complete_run

PASS, BELOW_NOISE, WARN, FAIL, UNDEFINED = "pass", "below noise", "warn", "fail", "undefined"
VERDICTS = (PASS, BELOW_NOISE, WARN, FAIL, UNDEFINED)

REPORT_FILE = "report.html"
SUMMARY_FILE = "summary.md"
TIMELINE_FILE = "timeline.json"
VERDICT_TABLE = "verdict.csv"


@dataclass(frozen=True)
class ComparisonInputs:
    """The directories of the real runs (repeats of one workload on one target) and of the
    simulations of them.
    """

    real_run_dirs: tuple[Path, ...]
    sim_run_dirs: tuple[Path, ...]


@dataclass(frozen=True)
class VerdictRow:
    """One statistic of one metric, real and simulated, in `unit`.

    `error_pct` is signed: 100 · (simulated − real) / real; `low_pct` and `high_pct` bound its
    bootstrap interval; `noise_pct` is how far two real runs lie apart by the same statistic. `None`
    where a figure is not defined: no interval from one request, no noise from one run, no error of
    a real value of zero.
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
    verdict: str


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
        """The simulation that is judged: that of predictor `engine`, otherwise the first plain
        one.
        """
        return self.meta.primary_simulation

    def counts(self, simulation: str | None = None) -> dict[str, int]:
        """How many statistics got each verdict, of one simulation (the primary one by default)."""
        chosen = simulation or self.primary_simulation
        found = [row.verdict for row in self.verdicts if row.simulation == chosen]
        return {verdict: found.count(verdict) for verdict in VERDICTS if verdict in found}


@dataclass(frozen=True)
class MatrixResult:
    """The fidelity matrix on disk. `rows` is one dict a comparison (or one that is missing or
    refused).
    """

    directory: Path
    page: Path
    rows: tuple[dict[str, Any], ...]
    tables: dict[str, Path]


def load_result(directory: Path) -> ComparisonResult:
    """Read a finished comparison back. Raises `UnfinishedArtifactError` if it is not finished."""
    meta = read_complete_run(directory, ComparisonMeta)
    return ComparisonResult(
        directory=directory,
        meta=meta,
        verdicts=tuple(read_verdicts(directory / "tables" / VERDICT_TABLE)),
        tables={path.stem: path for path in sorted((directory / "tables").glob("*.csv"))},
        figures={path.stem: path for path in sorted((directory / "figs").glob("*.png"))},
        notes=meta.notes,
    )


def read_verdicts(path: Path) -> list[VerdictRow]:
    """Raises `ArtifactError` naming the file and row where `verdict.csv` is not as this package
    writes it.
    """
    kinds = {field.name: field.type for field in fields(VerdictRow)}
    if not path.is_file():
        raise ArtifactError(f"{path} is missing: run compare-runs again")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames is None or list(reader.fieldnames) != list(kinds):
            raise ArtifactError(
                f"{path}: columns are {reader.fieldnames}, expected {list(kinds)}: run "
                f"compare-runs again"
            )
        rows = []
        for number, cells in enumerate(reader, start=2):
            try:
                rows.append(VerdictRow(**{name: _cell(cells[name], kinds[name]) for name in kinds}))
            except ValueError as error:
                raise ArtifactError(f"{path}, row {number}: {error}") from None
    return rows


def _cell(text: str, kind: Any) -> Any:
    if kind is str:
        return text
    return float(text) if text else None


def error_table_markdown(result: ComparisonResult) -> str:
    """The verdict of every simulation as a Markdown table, as `make demo` prints it and
    `summary.md` holds it.
    """
    lines = [
        "| simulation | metric | statistic | real | simulated | error | 95 % interval | noise | "
        "verdict |".replace("95", f"{result.meta.confidence_pct:g}"),
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in result.verdicts:
        lines.append(
            " | ".join(
                (
                    f"| {row.simulation}",
                    row.metric,
                    row.statistic,
                    f"{row.real:.4g} {row.unit}",
                    f"{row.simulated:.4g} {row.unit}",
                    signed_pct(row.error_pct),
                    interval_text(row),
                    unsigned_pct(row.noise_pct),
                    f"{row.verdict} |",
                )
            )
        )
    return "\n".join(lines) + "\n"


def signed_pct(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1f} %"


def unsigned_pct(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} %"


def interval_text(row: VerdictRow) -> str:
    return (
        "–"
        if row.low_pct is None or row.high_pct is None
        else f"{row.low_pct:+.1f} … {row.high_pct:+.1f} %"
    )

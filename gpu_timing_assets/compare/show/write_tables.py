"""The tables of a comparison as CSV, and what every one of their columns means."""

from pathlib import Path

from gpu_timing_assets.compare.findings import Findings
from gpu_timing_assets.compare.result_table import Column, table, write_csv

METRICS = table(
    "metrics",
    Column("metric", "name"),
    Column("unit", "unit"),
    Column("definition", "what is measured, from where to where"),
)
DEFINITIONS = table(
    "definitions",
    Column("table", "file in tables/, without .csv"),
    Column("column", "its column"),
    Column("unit", "unit of the column"),
    Column("definition", "what it holds"),
)


def write_tables(findings: Findings, directory: Path) -> None:
    """Write each table, `metrics.csv` and `definitions.csv`."""
    directory.mkdir()
    metrics = METRICS.frame(
        dict(metric=metric.name, unit=metric.unit, definition=metric.definition)
        for metric in findings.metrics
    )
    definitions = DEFINITIONS.frame(
        dict(table=one.name, column=column.name, unit=column.unit, definition=column.meaning)
        for one in sorted([*findings.tables, METRICS, DEFINITIONS], key=lambda one: one.name)
        for column in one.columns
    )
    for one, frame in {**findings.tables, METRICS: metrics, DEFINITIONS: definitions}.items():
        write_csv(frame, directory / f"{one.name}.csv")

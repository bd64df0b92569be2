"""What a person wants to see of a comparison and of the fidelity matrix on Dagster's page."""

from pathlib import Path
from typing import Any

import dagster as dg

from gpu_timing_assets.compare.show.text import figure_text, interval_text, signed_pct, unsigned_pct
from gpu_timing_assets.core.comparison import ComparisonResult, MatrixResult, VerdictRow
from gpu_timing_assets.dagster_app.descriptions.metadata_table import metadata_table
from gpu_timing_assets.dagster_app.descriptions.report_links import report_link
from gpu_timing_assets.dagster_app.descriptions.sparkline import sparkline
from gpu_timing_assets.dagster_app.execution.stage import StageClock

NO_BREAK = "\u00a0"  # the page's narrow columns would break a figure from its unit


def describe_comparison(result: ComparisonResult, clock: StageClock) -> dict[str, Any]:
    """The judged simulation's verdict; each error a number too, for Dagster to plot over time."""
    ratios = list(result.meta.host_time_ratio.values())
    judged = result.judged_rows
    sizes = [abs(row.error_pct or 0.0) for row in judged]
    counts = (f"{count} {verdict}" for verdict, count in result.counts().items())
    notes = "\n".join(f"- {note}" for note in result.notes)
    return {
        "report": report_link(result.report),
        "verdict": metadata_table([_verdict(row) for row in judged]),
        "verdict_counts": ", ".join(counts),
        **{
            f"error_pct_{row.metric}_{row.statistic}".lower(): row.error_pct
            for row in judged
            if row.error_pct is not None
        },
        "errors": sparkline(sizes, "size of each error, in the table's order"),
        "judged_simulation": result.primary_simulation,
        **({"host_time_ratio": sum(ratios) / len(ratios)} if ratios else {}),
        "real_runs": len(result.meta.real_run_ids),
        **({"notes": dg.MetadataValue.md(notes)} if notes else {}),
        "report_file": dg.MetadataValue.path(result.report),
        "stage_seconds": clock.seconds,
    }


def _verdict(row: VerdictRow) -> dict[str, str]:
    cells = {
        "statistic": f"{row.metric} {row.statistic}",
        "verdict": row.verdict,
        "error": signed_pct(row.error_pct),
        "noise": unsigned_pct(row.noise_pct),
        "prediction noise": unsigned_pct(row.prediction_noise_pct),
        "real": f"{figure_text(row.real)} {row.unit}",
        "simulated": f"{figure_text(row.simulated)} {row.unit}",
        "interval": interval_text(row),
    }
    return {name: text.replace(" ", NO_BREAK) for name, text in cells.items()}


def describe_matrix(result: MatrixResult, clock: StageClock) -> dict[str, Any]:
    return {
        "page": report_link(result.page),
        "comparisons": len(result.rows),
        "matrix": metadata_table(result.rows),
        "page_file": dg.MetadataValue.path(Path(result.page)),
        "stage_seconds": clock.seconds,
    }

"""The page of the fidelity matrix: errors of everything, beside the noise and over the load."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gpu_timing_assets.compare.show import pages
from gpu_timing_assets.compare.show.charts import error_against_load, error_against_noise, heat_map
from gpu_timing_assets.compare.show.figure import Figure
from gpu_timing_assets.metrics.metric import Metric


def headline_columns(metrics: Sequence[Metric]) -> dict[tuple[str, str], str]:
    """The statistics that the matrix shows, and the column of each one's error."""
    return {
        (metric.name, name): f"{metric.slug}_{name}_error_pct"
        for metric in metrics
        for name in metric.headline
    }


def write_matrix_page(
    path: Path, rows: list[dict[str, Any]], errors: pd.DataFrame, metrics: Sequence[Metric]
) -> None:
    """`rows`: one a comparison; `errors`: one a comparison, simulation, metric and statistic."""
    columns = headline_columns(metrics)
    figures = _figures(errors, [f"{metric} {name}" for metric, name in columns])
    bundle = pages.vega_bundle() if figures else ""
    page = pages.templates().get_template("fidelity_matrix.html.j2")
    text = page.render(
        rows=rows,
        medians={
            f"{metric} {name}": column
            for (metric, name), column in columns.items()
            if name == "p50"
        },
        figures=figures,
        bundle=pages.inline_script(bundle),
        specifications=pages.script_json(
            {figure.name: figure.specification() for figure in figures}
        ),
        themes=pages.themes_json(),
    )
    path.write_text(text, encoding="utf-8")


def _figures(errors: pd.DataFrame, order: list[str]) -> list[Figure]:
    errors = errors.assign(
        key=errors["metric"] + " " + errors["statistic"],
        row=errors["comparison_id"] + " · " + errors["simulation"],
    )
    errors = errors[errors["key"].isin(order) & errors["error_pct"].notna()]
    with_noise = errors[errors["noise_pct"].notna()]  # it takes two real runs
    return [
        *([] if errors.empty else [heat_map.figure(errors, order)]),
        *([] if with_noise.empty else [error_against_noise.figure(with_noise)]),
        *([] if errors.empty else [error_against_load.figure(errors)]),
    ]

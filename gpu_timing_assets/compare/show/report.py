"""The pages a person reads: `report.html` (needs no network), `summary.md`, every figure."""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import altair as alt
import vl_convert

from gpu_timing_assets.compare.caveats import Caveats
from gpu_timing_assets.compare.findings import Findings
from gpu_timing_assets.compare.gate.align import Aligned
from gpu_timing_assets.compare.show import pages
from gpu_timing_assets.compare.show.charts import (
    attribution,
    cdf,
    errors,
    grouped,
    over_time,
    percentiles,
    qq,
    requests,
)
from gpu_timing_assets.compare.show.content import report_content
from gpu_timing_assets.compare.show.figure import Figure
from gpu_timing_assets.compare.show.theme import theme
from gpu_timing_assets.config.comparison import ComparisonPreset
from gpu_timing_assets.core.comparison import REPORT_FILE, SUMMARY_FILE

VEGA_LITE = alt.SCHEMA_VERSION.lstrip("v").rpartition(".")[0]
BUNDLE_FILE = "vega.js"


def write_report(
    directory: Path,
    comparison_id: str,
    aligned: Aligned,
    findings: Findings,
    preset: ComparisonPreset,
    known: Caveats,
) -> None:
    """Write `report.html`, `summary.md` and `figs/`; nothing in them depends on when or where."""
    content = report_content(comparison_id, aligned, findings, preset, known)
    drawn = figures(aligned, findings, preset)
    bundle, made = pages.vega_bundle(), pages.templates()
    page = made.get_template("report.html.j2").render(
        **content,
        figures=drawn,
        themes=pages.themes_json(),
        bundle=pages.inline_script(bundle),
        specifications=pages.script_json({figure.name: figure.specification() for figure in drawn}),
    )
    (directory / REPORT_FILE).write_text(page, encoding="utf-8")
    summary = made.overlay(autoescape=False).get_template("summary.md.j2").render(**content)
    (directory / SUMMARY_FILE).write_text(summary, encoding="utf-8")
    _write_figures(directory / "figs", drawn, bundle)


def figures(aligned: Aligned, findings: Findings, preset: ComparisonPreset) -> list[Figure]:
    """All figures of a report, in reading order; one with nothing to draw is left out."""
    with warnings.catch_warnings():
        # Altair warns where one selection stands in several plots, which is what links them
        warnings.filterwarnings(
            "ignore", "Automatically deduplicated selection parameter", UserWarning
        )
        drawn = (
            errors.figure(findings, preset),
            attribution.figure(findings),
            cdf.figure(aligned, findings),
            percentiles.figure(findings),
            qq.figure(aligned, findings),
            requests.figure(aligned, findings),
            over_time.figure(findings),
            grouped.figure(findings),
        )
        return [figure for figure in drawn if figure is not None]


def _write_figures(directory: Path, drawn: Sequence[Figure], bundle: str) -> None:
    directory.mkdir()
    (directory / BUNDLE_FILE).write_text(bundle, encoding="utf-8")
    template = pages.templates().get_template("figure.html.j2")
    for figure in drawn:
        specification = figure.specification()
        page = template.render(
            figure=figure,
            bundle_file=BUNDLE_FILE,
            themes=pages.themes_json(),
            specifications=pages.script_json({figure.name: specification}),
        )
        (directory / f"{figure.name}.html").write_text(page, encoding="utf-8")
        drawing = vl_convert.vegalite_to_svg(
            specification, vl_version=VEGA_LITE, config=theme("light")
        )
        svg = directory / f"{figure.name}.svg"
        svg.write_text(_numbered_from_zero(drawing), encoding="utf-8")
        svg.with_suffix(".png").write_bytes(vl_convert.svg_to_png(drawing, scale=1.5))


def _numbered_from_zero(drawing: str) -> str:
    """The SVG with clip paths and gradients numbered in it alone: Vega counts over all it drew."""
    order: dict[str, int] = {}

    def renumber(found: re.Match[str]) -> str:
        return f"{found[1]}{order.setdefault(found[0], len(order))}"

    return re.sub(r"\b(clip|gradient_)(\d+)\b", renumber, drawing)

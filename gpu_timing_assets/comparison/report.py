"""The pages a person reads: `report.html` (one file, no network), `summary.md`, and every figure as HTML, PNG and SVG."""

import json
from pathlib import Path
from typing import Any

import altair as alt
import jinja2
import vl_convert

from gpu_timing_assets.comparison import plots
from gpu_timing_assets.comparison.align import Aligned
from gpu_timing_assets.comparison.findings import Findings
from gpu_timing_assets.comparison.results import (
    REPORT_FILE,
    SUMMARY_FILE,
    VERDICTS,
    VerdictRow,
    interval_text,
    signed_pct,
    unsigned_pct,
)
from gpu_timing_assets.presets.comparison import ComparisonPreset

TEMPLATES = Path(__file__).parent / "templates"
VEGA_LITE = alt.SCHEMA_VERSION.lstrip("v").rpartition(".")[0]
BUNDLE_FILE = "vega.js"


def templates() -> jinja2.Environment:
    """Templates with every text escaped."""
    made = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True,
                              lstrip_blocks=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    made.filters.update(signed_pct=signed_pct, unsigned_pct=unsigned_pct, interval=interval_text, figure=figure_text)
    return made


def figure_text(value: float) -> str:
    """Four significant digits, with thousands separated and no exponent."""
    if value != value:
        return "–"
    whole_digits = len(str(int(abs(value))))
    return f"{value:,.{max(0, 4 - whole_digits)}f}"


def script_json(value: Any) -> str:
    """JSON that may stand inside a `<script>` element, whatever its strings hold."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e")


def write_report(
    directory: Path, comparison_id: str, aligned: Aligned, findings: Findings, preset: ComparisonPreset,
    overridden: list[str], notes: tuple[str, ...],
) -> None:
    """Write `report.html`, `summary.md` and `figs/` into `directory`; nothing in them depends on when or where."""
    figures = plots.figures(aligned, findings)
    specifications = {figure.name: plots.specification(figure.chart) for figure in figures}
    bundle = vl_convert.javascript_bundle()
    content = {
        **_content(comparison_id, aligned, findings, preset), "overridden": overridden,
        "notes": [note for note in notes if note not in overridden], "figures": figures,
        "themes": script_json({mode: plots.theme(mode) for mode in ("light", "dark")}),
    }
    pages = templates()
    page = pages.get_template("report.html.j2").render(
        **content, bundle=bundle.replace("</script", "<\\/script"), specifications=script_json(specifications))
    (directory / REPORT_FILE).write_text(page, encoding="utf-8")
    (directory / SUMMARY_FILE).write_text(pages.overlay(autoescape=False).get_template("summary.md.j2").render(**content),
                                          encoding="utf-8")
    _write_figures(directory / "figs", figures, specifications, bundle, pages, content["themes"])


def _content(comparison_id: str, aligned: Aligned, findings: Findings, preset: ComparisonPreset) -> dict[str, Any]:
    meta = aligned.real[0].run.meta
    primary = [row for row in findings.verdicts if row.simulation == findings.primary_simulation]
    return {
        "comparison_id": comparison_id, "meta": meta, "params": meta.params, "preset": preset,
        "primary": findings.primary_simulation,
        "simulations": [series.label for series in aligned.simulated],
        "real_runs": [series.run.meta.run_id for series in aligned.real],
        "requests": len(aligned.grid), "tokens": int(aligned.grid.tokens.sum()),
        "verdicts": findings.verdicts, "primary_rows": primary, "matrix": _matrix(primary),
        "beside": _beside(findings.verdicts), "counts": _counts(primary), "headline": headline(primary),
        "tables": {name: frame.to_dict("records") for name, frame in findings.tables.items() if name != "requests"},
    }


def _counts(rows: list[VerdictRow]) -> dict[str, int]:
    found = [row.verdict for row in rows]
    return {verdict: found.count(verdict) for verdict in VERDICTS if verdict in found}


def headline(rows: list[VerdictRow]) -> str:
    """One sentence: how many statistics hold, and which is worst."""
    counts = _counts(rows)
    good = counts.get("pass", 0) + counts.get("below noise", 0)
    judged = [row for row in rows if row.error_pct is not None]
    worst = max(judged, key=lambda row: abs(row.error_pct or 0.0), default=None)
    bad = [row for row in judged if row.verdict in ("warn", "fail")]
    if worst is None:
        return "No statistic is defined on these runs."
    if not bad:
        return f"All {good} statistics pass or lie below the noise of the real engine."
    worst = max(bad, key=lambda row: abs(row.error_pct or 0.0))
    return (f"{good} of {len(judged)} statistics pass or lie below the noise of the real engine; "
            f"the worst of the others is {worst.metric} {worst.statistic} at {signed_pct(worst.error_pct)}.")


def _matrix(rows: list[VerdictRow]) -> list[tuple[str, list[VerdictRow]]]:
    names = list(dict.fromkeys(row.metric for row in rows))
    return [(name, [row for row in rows if row.metric == name]) for name in names]


def _beside(rows: tuple[VerdictRow, ...]) -> list[tuple[VerdictRow, list[VerdictRow]]]:
    keys = list(dict.fromkeys((row.metric, row.statistic) for row in rows))
    grouped = [[row for row in rows if (row.metric, row.statistic) == key] for key in keys]
    return [(group[0], group) for group in grouped]


def _write_figures(
    directory: Path, figures: list[plots.Figure], specifications: dict[str, Any], bundle: str, pages: jinja2.Environment,
    themes: str,
) -> None:
    directory.mkdir()
    (directory / BUNDLE_FILE).write_text(bundle, encoding="utf-8")
    template = pages.get_template("figure.html.j2")
    for figure in figures:
        specification = specifications[figure.name]
        page = template.render(figure=figure, bundle_file=BUNDLE_FILE, themes=themes,
                               specifications=script_json({figure.name: specification}))
        (directory / f"{figure.name}.html").write_text(page, encoding="utf-8")
        light = plots.theme("light")
        (directory / f"{figure.name}.svg").write_text(
            vl_convert.vegalite_to_svg(specification, vl_version=VEGA_LITE, config=light), encoding="utf-8")
        (directory / f"{figure.name}.png").write_bytes(
            vl_convert.vegalite_to_png(specification, vl_version=VEGA_LITE, scale=1.5, config=light))

"""The pages a person reads: `report.html` (one file, no network), `summary.md`, and every figure as
HTML, PNG and SVG.
"""

import json
import re
from pathlib import Path
from typing import Any

import altair as alt
import jinja2
import pandas as pd
import vl_convert

from gpu_timing_assets.compare.explain.attribution import largest_layers
from gpu_timing_assets.compare.findings import Findings
from gpu_timing_assets.compare.gate.align import Aligned
from gpu_timing_assets.compare.judge.statistics import LATENCIES, METRICS
from gpu_timing_assets.compare.results import (
    REPORT_FILE,
    SUMMARY_FILE,
    VERDICTS,
    VerdictRow,
    interval_text,
    signed_pct,
    unsigned_pct,
)
from gpu_timing_assets.compare.show import plots
from gpu_timing_assets.config.comparison import ComparisonPreset

TEMPLATES = Path(__file__).parent / "templates"
VEGA_LITE = alt.SCHEMA_VERSION.lstrip("v").rpartition(".")[0]
BUNDLE_FILE = "vega.js"
MAX_BATCH_LINES = 24


def templates() -> jinja2.Environment:
    """Templates with every text escaped."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    made.filters.update(
        signed_pct=signed_pct, unsigned_pct=unsigned_pct, interval=interval_text, figure=figure_text
    )
    return made


def figure_text(value: float) -> str:
    """Four significant digits, with thousands separated and no exponent."""
    if value != value:
        return "–"
    whole_digits = len(str(int(abs(value))))
    return f"{value:,.{max(0, 4 - whole_digits)}f}"


def vega_bundle() -> str:
    """Vega, Vega-Lite and the code that draws a chart, as a script that loads nothing further."""
    return vl_convert.javascript_bundle()  # type: ignore[call-arg]  # the stub misses its default


def script_json(value: Any) -> str:
    """JSON that may stand inside a `<script>` element, whatever its strings hold."""
    return (
        json.dumps(value, sort_keys=True, separators=(",", ":"))
        .replace("<", "\\u003c")
        .replace(">", "\\u003e")
    )


def write_report(
    directory: Path,
    comparison_id: str,
    aligned: Aligned,
    findings: Findings,
    preset: ComparisonPreset,
    overridden: list[str],
    notes: tuple[str, ...],
) -> None:
    """Write `report.html`, `summary.md` and `figs/` into `directory`; nothing in them depends on
    when or where.
    """
    figures = plots.figures(aligned, findings, preset)
    specifications = {figure.name: plots.specification(figure.chart) for figure in figures}
    bundle = vega_bundle()
    content = {
        **_content(comparison_id, aligned, findings, preset),
        "overridden": overridden,
        "notes": [note for note in notes if note not in overridden],
        "figures": figures,
        "themes": script_json({mode: plots.theme(mode) for mode in ("light", "dark")}),
    }
    pages = templates()
    page = pages.get_template("report.html.j2").render(
        **content,
        bundle=bundle.replace("</script", "<\\/script"),
        specifications=script_json(specifications),
    )
    (directory / REPORT_FILE).write_text(page, encoding="utf-8")
    (directory / SUMMARY_FILE).write_text(
        pages.overlay(autoescape=False).get_template("summary.md.j2").render(**content),
        encoding="utf-8",
    )
    _write_figures(directory / "figs", figures, specifications, bundle, pages, content["themes"])


def _content(
    comparison_id: str, aligned: Aligned, findings: Findings, preset: ComparisonPreset
) -> dict[str, Any]:
    meta = aligned.real[0].run.meta
    primary = [row for row in findings.verdicts if row.simulation == findings.primary_simulation]
    return {
        "comparison_id": comparison_id,
        "meta": meta,
        "params": meta.params.model_dump(mode="json"),
        "preset": preset,
        "primary": findings.primary_simulation,
        "simulations": [series.label for series in aligned.simulated],
        "real_runs": [series.run.meta.run_id for series in aligned.real],
        "requests": len(aligned.grid),
        "tokens": int(aligned.grid.tokens.sum()),
        "verdicts": findings.verdicts,
        "primary_rows": primary,
        "matrix": _matrix(primary),
        "beside": _beside(findings.verdicts),
        "counts": _counts(primary),
        "headline": headline(primary),
        "phases": _of(findings, "phases"),
        "distances": _of(findings, "distances"),
        "pairs": _of(findings, "request_pairs"),
        "attribution": _attribution_rows(findings),
        "layers": layer_sentence(findings),
        "agreement": _rows(findings.tables["batch_agreement"]),
        "difference": _first_difference(findings),
        "hosts": _rows(findings.tables["host_speed"]),
        "completeness": _rows(findings.tables["completeness"]),
        "excluded": _rows(findings.tables["excluded_requests"]),
        "parity": _parity_rows(findings.tables["parity"]),
        "metrics": METRICS,
    }


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dicts, with what is not a number as `None`."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def _of(findings: Findings, table: str) -> list[dict[str, Any]]:
    frame = findings.tables[table]
    return _rows(frame[frame["simulation"] == findings.primary_simulation])


def _attribution_rows(findings: Findings) -> dict[str, Any]:
    """Layers and, for each statistic of the judged simulation, its share of each and their sum."""
    frame = findings.tables["attribution"]
    chosen = frame[frame["simulation"] == findings.primary_simulation]
    layers = list(dict.fromkeys(chosen["layer"]))
    rows = []
    for (metric, name), group in chosen.groupby(["metric", "statistic"], sort=False):
        shares = dict(zip(group["layer"], group["share_pct"], strict=True))
        rows.append((metric, name, [shares.get(layer) for layer in layers], sum(shares.values())))
    return {"layers": layers, "rows": rows}


def layer_sentence(findings: Findings) -> str | None:
    """Which layer holds most of the error, counted over the statistics of the latencies; `None`
    without substitutions.
    """
    frame = findings.tables["attribution"]
    chosen = frame[
        (frame["simulation"] == findings.primary_simulation)
        & frame["metric"].isin([metric.name for metric in LATENCIES])
    ]
    if chosen.empty:
        return None
    largest = largest_layers(chosen, findings.primary_simulation)["layer"].value_counts()
    mean = chosen.groupby("layer", sort=False)["share_pct"].apply(
        lambda shares: shares.abs().mean()
    )
    parts = ", ".join(
        f"{layer} {value:.1f} %" for layer, value in mean.sort_values(ascending=False).items()
    )
    return (
        f"Largest share in {largest.iloc[0]} of {largest.sum()} statistics: {largest.index[0]}. "
        f"Mean absolute share: {parts}."
    )


def _first_difference(findings: Findings) -> dict[str, Any] | None:
    """Both batches at the first step where the judged simulation and the first real run differ,
    request by request.
    """
    pairs = findings.tables["batch_agreement"]
    pair = pairs[
        (pairs["other"] == findings.primary_simulation) & pairs["first_different_step"].notna()
    ]
    if pair.empty:
        return None
    real_run, other_run = pair.iloc[0]["real_run"], pair.iloc[0]["other_run"]
    entries = findings.tables["first_difference"]
    entries = entries[(entries["real_run"] == real_run) & (entries["other_run"] == other_run)]
    sides = {
        side: entries[entries["in_run"] == run].set_index("request_id")
        for side, run in (("real", real_run), ("simulated", other_run))
    }
    requests = sorted(set(sides["real"].index) | set(sides["simulated"].index))
    rows = [
        (
            request,
            *(
                int(sides[side].at[request, "num_scheduled_tokens"])
                if request in sides[side].index
                else None
                for side in ("real", "simulated")
            ),
        )
        for request in requests
    ]
    return {
        "step": int(pair.iloc[0]["first_different_step"]),
        "real_run": real_run,
        "rows": sorted(rows, key=lambda row: (row[1] == row[2], row[0]))[:MAX_BATCH_LINES],
        "requests": len(rows),
        "differing": sum(real != simulated for _, real, simulated in rows),
    }


def _parity_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """What is not equal, then how many knobs are."""
    return _rows(frame[frame["parity"].isin(["refuses", "listed"])])


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
    return (
        f"{good} of {len(judged)} statistics pass or lie below the noise of the real engine; "
        f"the worst of the others is {worst.metric} {worst.statistic} at "
        f"{signed_pct(worst.error_pct)}."
    )


def _matrix(rows: list[VerdictRow]) -> list[tuple[str, list[VerdictRow]]]:
    names = list(dict.fromkeys(row.metric for row in rows))
    return [(name, [row for row in rows if row.metric == name]) for name in names]


def _beside(rows: tuple[VerdictRow, ...]) -> list[tuple[str, str, list[VerdictRow]]]:
    """A line for each metric and simulation, the simulations of a metric below each other."""
    keys = dict.fromkeys((row.metric, row.simulation) for row in rows)
    order = {metric.name: number for number, metric in enumerate(METRICS)}
    return [
        (metric, label, [row for row in rows if (row.metric, row.simulation) == (metric, label)])
        for metric, label in sorted(keys, key=lambda key: order[key[0]])
    ]


def _write_figures(
    directory: Path,
    figures: list[plots.Figure],
    specifications: dict[str, Any],
    bundle: str,
    pages: jinja2.Environment,
    themes: str,
) -> None:
    directory.mkdir()
    (directory / BUNDLE_FILE).write_text(bundle, encoding="utf-8")
    template = pages.get_template("figure.html.j2")
    for figure in figures:
        specification = specifications[figure.name]
        page = template.render(
            figure=figure,
            bundle_file=BUNDLE_FILE,
            themes=themes,
            specifications=script_json({figure.name: specification}),
        )
        (directory / f"{figure.name}.html").write_text(page, encoding="utf-8")
        light = plots.theme("light")
        drawing = vl_convert.vegalite_to_svg(specification, vl_version=VEGA_LITE, config=light)
        (directory / f"{figure.name}.svg").write_text(
            _numbered_from_zero(drawing), encoding="utf-8"
        )
        (directory / f"{figure.name}.png").write_bytes(vl_convert.svg_to_png(drawing, scale=1.5))


def _numbered_from_zero(drawing: str) -> str:
    """The SVG with its clip paths and gradients numbered in it alone: Vega counts them over all it
    has drawn.
    """
    order: dict[str, int] = {}

    def renumber(found: re.Match[str]) -> str:
        return f"{found[1]}{order.setdefault(found[0], len(order))}"

    return re.sub(r"\b(clip|gradient_)(\d+)\b", renumber, drawing)

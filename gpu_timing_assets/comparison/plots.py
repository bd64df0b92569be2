"""The plots, as Altair charts with fixed names and no random part; down-sampled, never the statistics.

Colours come from the page's theme (Okabe & Ito's palette, which the colour-blind can tell apart, one set for light
and one for dark), so charts name the category and not its colour; lines differ by dash as well.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from gpu_timing_assets.comparison.align import Aligned
from gpu_timing_assets.comparison.findings import Findings
from gpu_timing_assets.comparison.results import VerdictRow
from gpu_timing_assets.comparison.statistics import LATENCIES

REAL = "real"
CURVE_POINTS = 240
SCATTER_POINTS = 1500
CATEGORY = {"light": ["#222222", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8C6D1F"],
            "dark": ["#f2f2f2", "#56B4E9", "#E69F00", "#2FD6A8", "#E79CC7", "#F0E442"]}
DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [1, 3], [12, 4]]


def theme(mode: str) -> dict[str, Any]:
    """The Vega-Lite `config` of the `light` or `dark` page."""
    text, faint, grid = ("#1f2328", "#57606a", "#e4e7eb") if mode == "light" else ("#e6edf3", "#9da7b3", "#30363d")
    return {
        "background": "white" if mode == "light" else "#0d1117",
        "font": "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif",
        "view": {"stroke": None},
        "axis": {"labelColor": faint, "titleColor": text, "gridColor": grid, "domainColor": grid, "tickColor": grid,
                 "titleFontWeight": "normal", "labelFontSize": 11, "titleFontSize": 11},
        "legend": {"labelColor": text, "titleColor": text, "labelFontSize": 12, "symbolStrokeWidth": 2.5, "orient": "top",
                   "title": None, "labelLimit": 260, "symbolSize": 160},
        "title": {"color": text, "fontSize": 13, "fontWeight": 600, "anchor": "start", "subtitleColor": faint},
        "header": {"labelColor": text, "titleColor": text},
        "text": {"color": text}, "rule": {"color": faint}, "range": {"category": CATEGORY[mode]},
    }


def specification(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """The chart's Vega-Lite JSON, with Altair's running numbers replaced, so that it does not depend on what was drawn before."""
    text = json.dumps(chart.to_dict(), sort_keys=True)
    for kind in ("view", "param", "concat", "layer"):
        names = list(dict.fromkeys(re.findall(rf'"({kind}_\d+)"', text)))
        for number, name in enumerate(names):
            text = text.replace(f'"{name}"', f'"{kind}-{number}"')
    return json.loads(text)


def records(frame: pd.DataFrame) -> alt.InlineData:
    """A frame as inline data, figures rounded to five digits, what is not finite as null."""
    clean = frame.copy()
    for name in clean.columns:
        if clean[name].dtype.kind == "f":
            clean[name] = [float(f"{value:.5g}") if np.isfinite(value) else None for value in clean[name]]
            clean[name] = clean[name].astype(object).where(clean[name].notna(), None)
    return alt.InlineData(values=clean.to_dict("records"))


def series_colour(labels: list[str], **legend: Any) -> alt.Color:
    return alt.Color("series:N", scale=alt.Scale(domain=[REAL, *labels]), legend=alt.Legend(**legend) if legend else alt.Undefined)


def series_dash(labels: list[str]) -> alt.StrokeDash:
    return alt.StrokeDash("series:N", scale=alt.Scale(domain=[REAL, *labels], range=DASHES[:len(labels) + 1]))


def value_scale(values: np.ndarray) -> alt.Scale:
    """Logarithmic where the values span more than a factor of 15."""
    positive = values[values > 0]
    wide = len(positive) == len(values) and len(values) and positive.max() / positive.min() > 15
    return alt.Scale(type="log", nice=False) if wide else alt.Scale(zero=False, nice=False)


def quantile_curves(aligned: Aligned, metric: str, levels: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The metric's quantiles at `levels`: of each real run, shape (runs, levels), and of each simulation by label."""
    real = np.stack([np.quantile(series.latency_ms(metric), levels) for series in aligned.real])
    return real, {series.label: np.quantile(series.latency_ms(metric), levels) for series in aligned.simulated}


def cdf_chart(aligned: Aligned) -> alt.TopLevelMixin:
    """Cumulative distributions of the four latencies: the band spans the real runs."""
    labels = [series.label for series in aligned.simulated]
    tail = 1 - np.logspace(-1, -3, CURVE_POINTS // 4)
    levels = np.unique(np.concatenate([np.linspace(0.002, 0.9, CURVE_POINTS * 3 // 4), tail]))
    panels = []
    for metric in LATENCIES:
        if not len(aligned.real[0].latency_ms(metric.name)):
            continue
        real, simulated = quantile_curves(aligned, metric.name, levels)
        band = pd.DataFrame({"share": levels, "low": real.min(axis=0), "high": real.max(axis=0), "series": REAL})
        lines = pd.concat([pd.DataFrame({"share": levels, "value": values, "series": label})
                           for label, values in {REAL: real.mean(axis=0), **simulated}.items()])
        scale = value_scale(lines["value"].to_numpy())
        y = alt.Y("share:Q", title="share of requests" if metric.name != "ITL" else "share of tokens",
                  axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1]))
        area = alt.Chart(records(band)).mark_area(opacity=0.22, orient="horizontal").encode(
            y=y, x=alt.X("low:Q", scale=scale, title=f"{metric.name} (ms)"), x2="high:Q", color=series_colour(labels))
        curves = alt.Chart(records(lines)).mark_line(strokeWidth=2, interpolate="linear").encode(
            y=y, x=alt.X("value:Q", scale=scale, title=f"{metric.name} (ms)"), order="share:Q", color=series_colour(labels),
            strokeDash=series_dash(labels),
            tooltip=["series:N", alt.Tooltip("value:Q", format=".4g"), alt.Tooltip("share:Q", format=".1%")])
        panels.append((area + curves).properties(width=440, height=200, title=metric.name))
    return alt.concat(*panels, columns=2)


def percentile_chart(rows: list[VerdictRow], real_runs: pd.DataFrame) -> alt.TopLevelMixin:
    """Each statistic's value, real (bar from the lowest to the highest run) and simulated."""
    labels = list(dict.fromkeys(row.simulation for row in rows))
    panels = []
    for metric in LATENCIES:
        chosen = [row for row in rows if row.metric == metric.name]
        order = list(metric.statistics)
        points = pd.DataFrame(
            [(REAL, row.statistic, row.real) for row in chosen if row.simulation == labels[0]]
            + [(row.simulation, row.statistic, row.simulated) for row in chosen], columns=["series", "statistic", "value"])
        if not np.isfinite(points["value"]).all():
            continue
        runs = real_runs[real_runs["metric"] == metric.name]
        spread = runs.groupby("statistic", sort=False)["value"].agg(["min", "max"]).reset_index().assign(series=REAL)
        x = alt.X("statistic:N", sort=order, title=None, axis=alt.Axis(labelAngle=0))
        offset = alt.XOffset("series:N", sort=[REAL, *labels], scale=alt.Scale(domain=[REAL, *labels]))
        scale = value_scale(points["value"].to_numpy())
        bars = alt.Chart(records(spread)).mark_rule(strokeWidth=5, opacity=0.4).encode(
            x=x, xOffset=offset, y=alt.Y("min:Q", scale=scale, title=f"{metric.name} (ms)"), y2="max:Q",
            color=series_colour(labels))
        dots = alt.Chart(records(points)).mark_point(filled=True, size=70, opacity=1).encode(
            x=x, xOffset=offset, y=alt.Y("value:Q", scale=scale, title=f"{metric.name} (ms)"), color=series_colour(labels),
            shape=alt.Shape("series:N", scale=alt.Scale(domain=[REAL, *labels])),
            tooltip=["series:N", "statistic:N", alt.Tooltip("value:Q", format=".4g")])
        panels.append((bars + dots).properties(width=440, height=180, title=metric.name))
    return alt.concat(*panels, columns=2)


@dataclass(frozen=True)
class Figure:
    """A chart under the name of its files, with the heading and the sentence that the report puts over it."""

    name: str
    title: str
    caption: str
    chart: alt.TopLevelMixin


def figures(aligned: Aligned, findings: Findings) -> list[Figure]:
    """All figures of a report, in reading order."""
    return [
        Figure("cdf", "Distributions", "Share of requests (of tokens, for ITL) that took no longer. "
               "The band spans the real runs; a simulation inside it cannot be told from them.", cdf_chart(aligned)),
        Figure("percentiles", "Percentiles", "Each statistic, real and simulated; the bar spans the real runs.",
               percentile_chart(list(findings.verdicts), findings.tables["real_runs"])),
    ]

"""The plots, as Altair charts with fixed names and no random part; down-sampled, never the
statistics.

Colours come from the page's theme (Okabe & Ito's palette, which the colour-blind can tell apart,
one set for light and one for dark), so charts name the category and not its colour; lines differ by
dash as well.
"""

import json
import re
import warnings
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from gpu_timing_assets.compare.explain.breakdown import TIME, running_at_arrival
from gpu_timing_assets.compare.findings import Findings
from gpu_timing_assets.compare.gate.align import Aligned
from gpu_timing_assets.compare.judge.statistics import LATENCIES
from gpu_timing_assets.compare.results import VERDICTS, VerdictRow
from gpu_timing_assets.config.comparison import ComparisonPreset

REAL = "real"
CURVE_POINTS = 240
SCATTER_POINTS = 1500
CATEGORY = {
    "light": ["#222222", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8C6D1F"],
    "dark": ["#f2f2f2", "#56B4E9", "#E69F00", "#2FD6A8", "#E79CC7", "#F0E442"],
}
DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [1, 3], [12, 4]]


def theme(mode: str) -> dict[str, Any]:
    """The Vega-Lite `config` of the `light` or `dark` page."""
    text, faint, grid = (
        ("#1f2328", "#57606a", "#e4e7eb") if mode == "light" else ("#e6edf3", "#9da7b3", "#30363d")
    )
    return {
        "background": "white" if mode == "light" else "#0d1117",
        "font": "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif",
        "view": {"stroke": None},
        "axis": {
            "labelColor": faint,
            "titleColor": text,
            "gridColor": grid,
            "domainColor": grid,
            "tickColor": grid,
            "titleFontWeight": "normal",
            "labelFontSize": 11,
            "titleFontSize": 11,
        },
        "legend": {
            "labelColor": text,
            "titleColor": text,
            "labelFontSize": 12,
            "symbolStrokeWidth": 2.5,
            "orient": "top",
            "title": None,
            "labelLimit": 260,
            "symbolSize": 120,
            "symbolOpacity": 1,
        },
        "title": {
            "color": text,
            "fontSize": 13,
            "fontWeight": 600,
            "anchor": "start",
            "subtitleColor": faint,
        },
        "header": {"labelColor": text, "titleColor": text},
        "text": {"color": text},
        "rule": {"color": text},
        "tick": {"color": text},
        "range": {"category": CATEGORY[mode]},
    }


def specification(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """The chart's Vega-Lite JSON, its views numbered in it alone: Altair counts them over all it
    has made.
    """
    text = json.dumps(chart.to_dict(), sort_keys=True)
    for kind in ("view", "param", "concat", "layer"):
        names = list(dict.fromkeys(re.findall(rf'"({kind}_\d+)"', text)))
        for number, name in enumerate(names):
            text = text.replace(f'"{name}"', f'"{kind}-{number}"')
    return json.loads(text)


def records(frame: pd.DataFrame) -> alt.InlineData:
    """A frame as inline data, figures rounded to five digits, what is not finite as null."""
    clean = frame.astype(object)
    for name in frame.columns:
        if frame[name].dtype.kind == "f":
            rounded = [
                float(f"{value:.5g}") if np.isfinite(value) else None for value in frame[name]
            ]
            clean[name] = pd.Series(rounded, index=frame.index, dtype=object)
    return alt.InlineData(
        values=[{str(key): value for key, value in row.items()} for row in clean.to_dict("records")]
    )


def series_colour(labels: list[str], *, line: bool = False) -> alt.Color:
    """Colour by series; the legend shows lines, dashed as they are, where `line`."""
    legend = alt.Legend(symbolType="stroke", symbolSize=500) if line else alt.Legend()
    return alt.Color("series:N", scale=alt.Scale(domain=[REAL, *labels]), legend=legend)


def series_dash(labels: list[str]) -> alt.StrokeDash:
    return alt.StrokeDash(
        "series:N", scale=alt.Scale(domain=[REAL, *labels], range=DASHES[: len(labels) + 1])
    )


def value_scale(values: np.ndarray, domain: np.ndarray | None = None) -> alt.Scale:
    """Logarithmic where the values span more than a factor of 15; over the range of `domain` if
    that is given.
    """
    ends: Any = alt.Undefined if domain is None else [float(domain.min()), float(domain.max())]
    positive = values[values > 0]
    wide = len(positive) == len(values) and len(values) and positive.max() / positive.min() > 15
    return (
        alt.Scale(type="log", nice=False, padding=6, domain=ends)
        if wide
        else alt.Scale(zero=False, nice=False, padding=6, domain=ends)
    )


def quantile_curves(
    aligned: Aligned, metric: str, levels: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The metric's quantiles at `levels`: of each real run, shape (runs, levels), and of each
    simulation by label.

    Zeros (tokens that came together) are drawn at the smallest positive value, so that a
    logarithmic axis can show them.
    """
    runs = (*aligned.real, *aligned.simulated)
    curves = np.stack([np.quantile(series.latency_ms(metric), levels) for series in runs])
    positive = curves[curves > 0]
    if len(positive):
        curves = np.maximum(curves, positive.min())
    simulated = curves[len(aligned.real) :]
    return curves[: len(aligned.real)], {
        series.label: row for series, row in zip(aligned.simulated, simulated, strict=True)
    }


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
        band = pd.DataFrame(
            {"share": levels, "low": real.min(axis=0), "high": real.max(axis=0), "series": REAL}
        )
        lines = pd.concat(
            [
                pd.DataFrame({"share": levels, "value": values, "series": label})
                for label, values in {REAL: real.mean(axis=0), **simulated}.items()
            ]
        )
        scale = value_scale(lines["value"].to_numpy())
        y = alt.Y(
            "share:Q",
            title="share of requests" if metric.name != "ITL" else "share of tokens",
            axis=alt.Axis(format="%"),
            scale=alt.Scale(domain=[0, 1]),
        )
        area = (
            alt.Chart(records(band))
            .mark_area(opacity=0.22, orient="horizontal")
            .encode(
                y=y,
                x=alt.X("low:Q", scale=scale, title=f"{metric.name} (ms)"),
                x2="high:Q",
                color=series_colour(labels, line=True),
            )
        )
        curves = (
            alt.Chart(records(lines))
            .mark_line(strokeWidth=2, interpolate="linear")
            .encode(
                y=y,
                x=alt.X("value:Q", scale=scale, title=f"{metric.name} (ms)"),
                order="share:Q",
                color=series_colour(labels, line=True),
                strokeDash=series_dash(labels),
                tooltip=[
                    "series:N",
                    alt.Tooltip("value:Q", format=".4g"),
                    alt.Tooltip("share:Q", format=".1%"),
                ],
            )
        )
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
            + [(row.simulation, row.statistic, row.simulated) for row in chosen],
            columns=["series", "statistic", "value"],
        )
        if not np.isfinite(points["value"]).all():
            continue
        runs = real_runs[real_runs["metric"] == metric.name]
        spread = (
            runs.groupby("statistic", sort=False)["value"]
            .agg(["min", "max"])
            .reset_index()
            .assign(series=REAL)
        )
        x = alt.X("statistic:N", sort=order, title=None, axis=alt.Axis(labelAngle=0))
        offset = alt.XOffset(
            "series:N", sort=[REAL, *labels], scale=alt.Scale(domain=[REAL, *labels])
        )
        scale = value_scale(np.concatenate([points["value"], spread["min"], spread["max"]]))
        bars = (
            alt.Chart(records(spread))
            .mark_rule(strokeWidth=5, opacity=0.4)
            .encode(
                x=x,
                xOffset=offset,
                y=alt.Y("min:Q", scale=scale, title=f"{metric.name} (ms)"),
                y2="max:Q",
                color=series_colour(labels),
            )
        )
        dots = (
            alt.Chart(records(points))
            .mark_point(filled=True, size=70, opacity=1)
            .encode(
                x=x,
                xOffset=offset,
                y=alt.Y("value:Q", scale=scale, title=f"{metric.name} (ms)"),
                color=series_colour(labels),
                shape=alt.Shape("series:N", scale=alt.Scale(domain=[REAL, *labels])),
                tooltip=["series:N", "statistic:N", alt.Tooltip("value:Q", format=".4g")],
            )
        )
        panels.append((bars + dots).properties(width=440, height=180, title=metric.name))
    return alt.concat(*panels, columns=2)


def error_chart(rows: list[VerdictRow], preset: ComparisonPreset) -> alt.TopLevelMixin:
    """The judged simulation's errors with their intervals, over the real runs' noise and the bounds
    that pass and warn.
    """
    frame = pd.DataFrame([vars(row) for row in rows if row.error_pct is not None])
    frame = frame.assign(
        key=frame["metric"] + " " + frame["statistic"], minus=-frame["noise_pct"].astype(float)
    )
    order = frame["key"].tolist()
    reach = float(
        np.nanmax(
            np.abs(frame[["error_pct", "low_pct", "high_pct", "noise_pct"]].to_numpy(dtype=float))
        )
    )
    scale = alt.Scale(
        domain=[-max(reach, preset.warn_pct) * 1.05, max(reach, preset.warn_pct) * 1.05], nice=False
    )
    y = alt.Y("key:N", sort=order, title=None, axis=alt.Axis(grid=False))
    base = alt.Chart(
        records(frame[["key", "error_pct", "low_pct", "high_pct", "noise_pct", "minus", "verdict"]])
    )
    noise = base.mark_bar(opacity=0.35, height=11).encode(
        y=y,
        x=alt.X("minus:Q", scale=scale, title="error (%)", axis=alt.Axis(tickCount=12)),
        x2="noise_pct:Q",
        color=alt.value("#808890"),
    )
    lines = base.mark_rule(strokeWidth=2).encode(
        y=y, x=alt.X("low_pct:Q", scale=scale), x2="high_pct:Q"
    )
    dots = base.mark_point(filled=True, size=80, opacity=1).encode(
        y=y,
        x=alt.X("error_pct:Q", scale=scale),
        color=verdict_colour(),
        shape=verdict_shape(),
        tooltip=[
            "key:N",
            alt.Tooltip("error_pct:Q", format="+.2f"),
            alt.Tooltip("low_pct:Q", format="+.2f"),
            alt.Tooltip("high_pct:Q", format="+.2f"),
            alt.Tooltip("noise_pct:Q", format=".2f"),
            "verdict:N",
        ],
    )
    bounds = pd.DataFrame(
        {
            "at": [-preset.warn_pct, -preset.pass_pct, 0.0, preset.pass_pct, preset.warn_pct],
            "kind": ["warn", "pass", "zero", "pass", "warn"],
        }
    )
    rules = (
        alt.Chart(records(bounds))
        .mark_rule(opacity=0.7)
        .encode(
            x=alt.X("at:Q", scale=scale),
            strokeDash=alt.StrokeDash(
                "kind:N",
                legend=None,
                scale=alt.Scale(domain=["zero", "pass", "warn"], range=[[1, 0], [4, 3], [1, 3]]),
            ),
        )
    )
    return (noise + rules + lines + dots).properties(width=820, height=alt.Step(19))


def verdict_colour() -> alt.Color:
    colours = ["#2b8fd0", "#808890", "#d9a400", "#e0561f"]
    return alt.Color("verdict:N", scale=alt.Scale(domain=list(VERDICTS[:4]), range=colours))


def verdict_shape() -> alt.Shape:
    shapes = ["circle", "square", "triangle-up", "cross"]
    return alt.Shape("verdict:N", scale=alt.Scale(domain=list(VERDICTS[:4]), range=shapes))


def attribution_chart(table: pd.DataFrame, simulation: str) -> alt.TopLevelMixin:
    """Each layer's share of the error, side by side from zero; the tick is the whole error, their
    sum.
    """
    chosen = table[
        (table["simulation"] == simulation)
        & (table["metric"].isin([metric.name for metric in LATENCIES]))
    ]
    chosen = chosen.assign(key=chosen["metric"] + " " + chosen["statistic"])
    order = list(dict.fromkeys(chosen["key"]))
    layers = list(dict.fromkeys(chosen["layer"]))
    y = alt.Y("key:N", sort=order, title=None, axis=alt.Axis(grid=False))
    bars = (
        alt.Chart(records(chosen[["key", "layer", "share_pct", "substituted_error_pct"]]))
        .mark_bar()
        .encode(
            y=y,
            x=alt.X(
                "share_pct:Q",
                title="share of the error (% of the real value)",
                stack=True,
                axis=alt.Axis(tickCount=12),
            ),
            color=alt.Color(
                "layer:N",
                scale=alt.Scale(
                    domain=layers, range=["#0f7fc4", "#e0812f", "#8d96a0"][: len(layers)]
                ),
            ),
            order=alt.Order("layer:N"),
            tooltip=[
                "key:N",
                "layer:N",
                alt.Tooltip("share_pct:Q", format="+.2f"),
                alt.Tooltip("substituted_error_pct:Q", format="+.2f"),
            ],
        )
    )
    totals = chosen.drop_duplicates("key")[["key", "error_pct"]]
    ticks = (
        alt.Chart(records(totals))
        .mark_tick(thickness=3, height=15)
        .encode(y=y, x="error_pct:Q", tooltip=["key:N", alt.Tooltip("error_pct:Q", format="+.2f")])
    )
    return (bars + ticks).properties(width=820, height=alt.Step(19))


def qq_chart(aligned: Aligned) -> alt.TopLevelMixin:
    """Quantiles of the simulation over those of the real runs (their mean); the band spans the real
    runs.
    """
    labels = [series.label for series in aligned.simulated]
    levels = np.concatenate([np.linspace(0.01, 0.99, 99), [0.995, 0.999]])
    panels = []
    for metric in LATENCIES:
        if not len(aligned.real[0].latency_ms(metric.name)):
            continue
        real, simulated = quantile_curves(aligned, metric.name, levels)
        mean = real.mean(axis=0)
        band = pd.DataFrame(
            {"real": mean, "low": real.min(axis=0), "high": real.max(axis=0), "series": REAL}
        )
        points = pd.concat(
            [
                pd.DataFrame({"real": mean, "simulated": values, "level": levels, "series": label})
                for label, values in simulated.items()
            ]
        )
        values = np.concatenate([mean, points["simulated"].to_numpy()])
        scale = value_scale(values)
        ends = pd.DataFrame({"real": mean[[0, -1]], "simulated": mean[[0, -1]]})
        x = alt.X("real:Q", scale=value_scale(values, mean), title=f"real {metric.name} (ms)")
        area = (
            alt.Chart(records(band))
            .mark_area(opacity=0.3)
            .encode(
                x=x,
                y=alt.Y("low:Q", scale=scale, title=f"simulated {metric.name} (ms)"),
                y2="high:Q",
                color=series_colour(labels),
            )
        )
        line = (
            alt.Chart(records(ends))
            .mark_line(strokeDash=[4, 4], strokeWidth=1, opacity=0.8)
            .encode(x=x, y=alt.Y("simulated:Q", scale=scale), color=alt.datum(REAL))
        )
        dots = (
            alt.Chart(records(points))
            .mark_point(size=26, opacity=0.9)
            .encode(
                x=x,
                y=alt.Y("simulated:Q", scale=scale),
                color=series_colour(labels),
                shape=alt.Shape("series:N", scale=alt.Scale(domain=[REAL, *labels])),
                tooltip=[
                    "series:N",
                    alt.Tooltip("level:Q", format=".1%"),
                    alt.Tooltip("real:Q", format=".4g"),
                    alt.Tooltip("simulated:Q", format=".4g"),
                ],
            )
        )
        panels.append((area + line + dots).properties(width=440, height=240, title=metric.name))
    return alt.concat(*panels, columns=2)


def request_chart(
    table: pd.DataFrame, load: np.ndarray, labels: list[str], primary: str
) -> alt.TopLevelMixin:
    """Requests one by one, in three linked plots; a click in one picks the request in all.

    Down-sampled to `SCATTER_POINTS`.

    `table`: the comparison's `requests`; `load`: requests running at each one's arrival, shape
    (requests,).
    """
    requests = len(load)
    kept = np.unique(
        np.linspace(0, requests - 1, min(requests, SCATTER_POINTS // len(labels)))
        .round()
        .astype(int)
    )
    parts = []
    for label in labels:
        part = table[table["simulation"] == label].iloc[kept]
        parts.append(
            pd.DataFrame(
                {
                    "request": part["request_id"].to_numpy(),
                    "series": label,
                    "arrival_s": part["arrival_ms"].to_numpy() / 1000,
                    "running": load[kept],
                    "real": part["real_ttft_ms"].to_numpy(),
                    "simulated": part["simulated_ttft_ms"].to_numpy(),
                    "e2e_error": 100
                    * (part["simulated_e2e_ms"] / part["real_e2e_ms"] - 1).to_numpy(),
                    "prompt": part["num_prefill_tokens"].to_numpy(),
                    "output": part["num_decode_tokens"].to_numpy(),
                }
            )
        )
    frame = pd.concat(parts)
    values = frame[frame["series"] == primary][["real", "simulated"]].to_numpy().ravel()
    scale = value_scale(values)
    picked = alt.selection_point(name="picked", fields=["request"], empty=True)
    shown = (
        alt.param(
            name="shown", value=primary, bind=alt.binding_select(options=labels, name="simulation ")
        )
        if (len(labels) > 1)
        else alt.param(name="shown", value=primary)
    )
    opacity = alt.when(picked).then(alt.value(0.85)).otherwise(alt.value(0.08))
    size = alt.when(picked, empty=False).then(alt.value(150)).otherwise(alt.value(28))
    tooltip = [
        alt.Tooltip("request:Q"),
        "prompt:Q",
        "output:Q",
        alt.Tooltip("arrival_s:Q", format=".3f", title="arrival (s)"),
        alt.Tooltip("running:Q", format=".1f", title="running at arrival"),
        alt.Tooltip("real:Q", format=".4g", title="real TTFT (ms)"),
        alt.Tooltip("simulated:Q", format=".4g", title="simulated TTFT (ms)"),
        alt.Tooltip("e2e_error:Q", format="+.2f", title="E2E error (%)"),
    ]
    chosen = alt.Chart(records(frame)).transform_filter("datum.series === shown")
    ends = pd.DataFrame({"at": [values.min(), values.max()]})
    diagonal = (
        alt.Chart(records(ends))
        .mark_line(strokeDash=[4, 4], strokeWidth=1)
        .encode(x=alt.X("at:Q", scale=scale), y=alt.Y("at:Q", scale=scale), color=alt.datum(REAL))
    )
    scatter = (
        chosen.mark_point(filled=True)
        .encode(
            x=alt.X("real:Q", scale=scale, title="real TTFT (ms)"),
            y=alt.Y("simulated:Q", scale=scale, title="simulated TTFT (ms)"),
            color=series_colour(labels),
            opacity=opacity,
            size=size,
            tooltip=tooltip,
        )
        .add_params(picked)
    )
    arrival = alt.X("arrival_s:Q", title="arrival (s)", scale=alt.Scale(zero=False, nice=False))
    real_points = (
        chosen.transform_calculate(series=f"'{REAL}'")
        .mark_point(filled=True, shape="square")
        .encode(
            x=arrival,
            y=alt.Y("real:Q", scale=scale, title="TTFT (ms)"),
            color=series_colour(labels),
            opacity=opacity,
            size=size,
            tooltip=tooltip,
        )
    )
    simulated_points = (
        chosen.mark_point(filled=True)
        .encode(
            x=arrival,
            y=alt.Y("simulated:Q", scale=scale),
            color=series_colour(labels),
            opacity=opacity,
            size=size,
            tooltip=tooltip,
        )
        .add_params(picked)
    )
    by_load = (
        chosen.mark_point(filled=True)
        .encode(
            x=alt.X("running:Q", title="requests running at arrival"),
            y=alt.Y("e2e_error:Q", title="E2E error (%)"),
            color=series_colour(labels),
            opacity=opacity,
            size=size,
            tooltip=tooltip,
        )
        .add_params(picked)
    )
    top = (diagonal + scatter).properties(width=440, height=260, title="TTFT, request by request")
    right = by_load.properties(width=440, height=260, title="E2E error over load")
    bottom = (real_points + simulated_points).properties(
        width=956, height=220, title="TTFT over arrival time"
    )
    return alt.vconcat(alt.hconcat(top, right), bottom).add_params(shown)


def over_time_chart(table: pd.DataFrame, labels: list[str], primary: str) -> alt.TopLevelMixin:
    """Running requests and batch size over time; drag to move, scroll to zoom, in both at once."""
    wanted = [primary, *(label for label in labels if label != primary)][:3]
    real = table[table["side"] == "real"].groupby("time_s", as_index=False)
    zoom = alt.selection_interval(name="zoom", encodings=["x"], bind="scales")
    panels = []
    for column, title in (
        ("running_requests", "running requests"),
        ("batch_size", "requests in a step"),
    ):
        if not table[column].notna().any():
            continue
        band = real[column].agg(["min", "max", "mean"]).assign(series=REAL)
        lines = pd.concat(
            [
                band.rename(columns={"mean": "value"})[["time_s", "value", "series"]],
                table[table["series"].isin(wanted)].rename(columns={column: "value"})[
                    ["time_s", "value", "series"]
                ],
            ]
        )
        x = alt.X("time_s:Q", title="time (s)", scale=alt.Scale(nice=False, zero=False))
        edges = band[["time_s", "min", "max", "series"]]
        area = (
            alt.Chart(records(edges))
            .mark_area(opacity=0.25, interpolate="step")
            .encode(
                x=x,
                y=alt.Y("min:Q", title=title),
                y2="max:Q",
                color=series_colour(labels, line=True),
            )
        )
        curves = (
            alt.Chart(records(lines))
            .mark_line(strokeWidth=1.5, interpolate="step")
            .encode(
                x=x,
                y=alt.Y("value:Q", title=title),
                color=series_colour(labels, line=True),
                strokeDash=series_dash(labels),
                tooltip=[
                    "series:N",
                    alt.Tooltip("time_s:Q", format=".2f"),
                    alt.Tooltip("value:Q", format=".3g"),
                ],
            )
            .add_params(zoom)
        )
        panels.append((area + curves).properties(width=956, height=150))
    return alt.vconcat(*panels)


def grouped_chart(table: pd.DataFrame, simulation: str) -> alt.TopLevelMixin:
    """Error of the mean in each group of requests."""
    chosen = table[(table["simulation"] == simulation) & table["error_pct"].notna()].copy()
    chosen["error_pct"], chosen["noise_pct"] = (
        chosen["error_pct"].astype(float),
        chosen["noise_pct"].astype(float),
    )
    chosen["middle"] = (chosen["low"] + chosen["high"]) / 2
    panels = []
    for name in dict.fromkeys(chosen["grouped_by"]):
        part = chosen[chosen["grouped_by"] == name]
        points = part[["middle", "low", "high", "requests", "metric", "error_pct", "noise_pct"]]
        colour = alt.Color(
            "metric:N",
            scale=alt.Scale(domain=["TTFT", "TPOT", "E2E"]),
            legend=alt.Legend(symbolSize=90),
        )
        x = alt.X(
            "middle:Q",
            title=name,
            scale=alt.Scale(zero=False, nice=False, padding=8)
            if name == TIME
            else value_scale(part["middle"].to_numpy()),
        )
        base = alt.Chart(records(points)).encode(
            x=x, y=alt.Y("error_pct:Q", title="error of the mean (%)"), color=colour
        )
        lines = base.mark_line(strokeWidth=2).encode(
            strokeDash=alt.StrokeDash(
                "metric:N", scale=alt.Scale(domain=["TTFT", "TPOT", "E2E"], range=DASHES[:3])
            )
        )
        dots = base.mark_point(filled=True, size=50, opacity=1).encode(
            shape=alt.Shape(
                "metric:N", legend=None, scale=alt.Scale(domain=["TTFT", "TPOT", "E2E"])
            ),
            tooltip=[
                "metric:N",
                "requests:Q",
                "low:Q",
                "high:Q",
                alt.Tooltip("error_pct:Q", format="+.2f"),
                alt.Tooltip("noise_pct:Q", format=".2f"),
            ],
        )
        zero = (
            alt.Chart(records(pd.DataFrame({"at": [0.0]}))).mark_rule(opacity=0.7).encode(y="at:Q")
        )
        panels.append((zero + lines + dots).properties(width=440, height=170))
    return alt.concat(*panels, columns=2)


@dataclass(frozen=True)
class Figure:
    """A chart under the name of its files, with the heading and the sentence that the report puts
    over it.
    """

    name: str
    title: str
    caption: str
    chart: alt.TopLevelMixin


def figures(aligned: Aligned, findings: Findings, preset: ComparisonPreset) -> list[Figure]:
    """All figures of a report, in reading order; one with nothing to draw is left out."""
    with warnings.catch_warnings():
        # Altair warns where one selection stands in several plots, which is what links them
        warnings.filterwarnings(
            "ignore", "Automatically deduplicated selection parameter", UserWarning
        )
        return _figures(aligned, findings, preset)


def _figures(aligned: Aligned, findings: Findings, preset: ComparisonPreset) -> list[Figure]:
    labels, primary = [series.label for series in aligned.simulated], findings.primary_simulation
    tables = findings.tables
    judged = [row for row in findings.verdicts if row.simulation == primary]
    drawn = []
    if any(row.error_pct is not None for row in judged):
        drawn.append(
            Figure(
                "errors",
                f"Errors of {primary}",
                f"Point: signed error; line: its {preset.confidence_pct:g} % "
                "interval; grey bar: noise of the real runs; dashed and dotted: the bounds that "
                "pass and warn.",
                error_chart(judged, preset),
            )
        )
    if (tables["attribution"]["simulation"] == primary).any():
        drawn.append(
            Figure(
                "attribution",
                "Error by layer",
                "What the error loses when a layer is replaced by what the "
                "real engine did. The shares add up to the whole error (tick).",
                attribution_chart(tables["attribution"], primary),
            )
        )
    drawn += [
        Figure(
            "cdf",
            "Cumulative distributions",
            "Share of requests (of tokens, for ITL) that took no longer. "
            "The band spans the real runs; a simulation inside it cannot be told from them.",
            cdf_chart(aligned),
        ),
        Figure(
            "percentiles",
            "Percentiles",
            "Each statistic, real and simulated; the bar spans the real runs.",
            percentile_chart(list(findings.verdicts), tables["real_runs"]),
        ),
        Figure(
            "qq",
            "Quantile against quantile",
            "On the diagonal the simulation is right; the band spans the real runs.",
            qq_chart(aligned),
        ),
        Figure(
            "requests",
            "Request by request",
            "Click a request to find it in the other plots, shift-click for more, "
            "double-click to clear. Real values are the mean over the real runs.",
            request_chart(
                tables["requests"],
                np.mean([running_at_arrival(series) for series in aligned.real], axis=0),
                labels,
                primary,
            ),
        ),
        Figure(
            "over_time",
            "Load over time",
            "Mean over short windows; the band spans the real runs. Scroll to zoom, drag "
            "to move, double-click to reset.",
            over_time_chart(tables["load_over_time"], labels, primary),
        ),
        Figure(
            "grouped",
            f"Where {primary} is wrong",
            "Error of the mean over groups of requests: by load, by prompt and "
            "output length, and over the run's time.",
            grouped_chart(tables["grouped_errors"], primary),
        ),
    ]
    return drawn

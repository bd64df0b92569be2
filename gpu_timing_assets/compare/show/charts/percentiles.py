"""Each statistic's value, real (bar from the lowest to the highest run) and simulated."""

import altair as alt
import numpy as np
import pandas as pd

from gpu_timing_assets.compare.findings import Findings
from gpu_timing_assets.compare.judge.statistics import REAL_RUNS
from gpu_timing_assets.compare.show import theme
from gpu_timing_assets.compare.show.figure import Figure
from gpu_timing_assets.metrics.metric import Distribution
from gpu_timing_assets.metrics.registry import latencies


def figure(findings: Findings) -> Figure:
    panels = [_panel(findings, metric) for metric in latencies(findings.metrics)]
    return Figure(
        "percentiles",
        "Percentiles",
        "Each statistic, real and simulated; the bar spans the real runs.",
        alt.concat(*(panel for panel in panels if panel is not None), columns=2),
    )


def _panel(findings: Findings, metric: Distribution) -> alt.TopLevelMixin | None:
    labels = list(dict.fromkeys(row.simulation for row in findings.verdicts))
    rows = [row for row in findings.verdicts if row.metric == metric.name]
    series = [(theme.REAL, row.statistic, row.real) for row in rows[: len(metric.statistics)]]
    series += [(row.simulation, row.statistic, row.simulated) for row in rows]
    points = pd.DataFrame(series, columns=["series", "statistic", "value"])
    points = points[np.isfinite(points["value"])]
    if points.empty:
        return None
    real_runs = findings.tables[REAL_RUNS]
    spread = (
        real_runs[real_runs["metric"] == metric.name]
        .groupby("statistic", sort=False)["value"]
        .agg(["min", "max"])
        .reset_index()
        .assign(series=theme.REAL)
    )
    all_series = alt.Scale(domain=[theme.REAL, *labels])
    x = alt.X("statistic:N", sort=list(metric.statistics), title=None, axis=alt.Axis(labelAngle=0))
    offset = alt.XOffset("series:N", sort=[theme.REAL, *labels], scale=all_series)
    scale = theme.value_scale(np.concatenate([points["value"], spread["min"], spread["max"]]))
    low, value = (
        alt.Y(f"{name}:Q", scale=scale, title=f"{metric.name} (ms)") for name in ("min", "value")
    )
    colour = theme.series_colour(labels)
    bars = alt.Chart(theme.records(spread)).mark_rule(strokeWidth=5, opacity=0.4)
    dots = alt.Chart(theme.records(points)).mark_point(filled=True, size=70, opacity=1)
    layers = bars.encode(x=x, xOffset=offset, y=low, y2="max:Q", color=colour) + dots.encode(
        x=x,
        xOffset=offset,
        y=value,
        color=colour,
        shape=alt.Shape("series:N", scale=all_series),
        tooltip=["series:N", "statistic:N", *theme.tooltips(value=".4g")],
    )
    return layers.properties(width=440, height=180, title=metric.name)

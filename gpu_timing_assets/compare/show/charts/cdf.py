"""Cumulative distributions of the latencies: the band spans the real runs."""

import altair as alt
import numpy as np
import pandas as pd

from gpu_timing_assets.compare.findings import Findings
from gpu_timing_assets.compare.gate.align import Aligned
from gpu_timing_assets.compare.show import theme
from gpu_timing_assets.compare.show.charts.quantiles import quantile_curves
from gpu_timing_assets.compare.show.figure import Figure
from gpu_timing_assets.metrics.metric import Distribution
from gpu_timing_assets.metrics.registry import latencies

CURVE_POINTS = 240


def figure(aligned: Aligned, findings: Findings) -> Figure:
    panels = [_panel(aligned, metric) for metric in latencies(findings.metrics)]
    return Figure(
        "cdf",
        "Cumulative distributions",
        "Share of requests (of tokens, for ITL) that took no longer. "
        "The band spans the real runs; a simulation inside it cannot be told from them.",
        alt.concat(*(panel for panel in panels if panel is not None), columns=2),
    )


def _panel(aligned: Aligned, metric: Distribution) -> alt.TopLevelMixin | None:
    tail = 1 - np.logspace(-1, -3, CURVE_POINTS // 4)
    levels = np.unique(np.concatenate([np.linspace(0.002, 0.9, CURVE_POINTS * 3 // 4), tail]))
    found = quantile_curves(aligned, metric, levels)
    if found is None:
        return None
    real, simulated = found
    labels = [run.label for run in aligned.simulated]
    band = pd.DataFrame(
        {"share": levels, "low": real.min(axis=0), "high": real.max(axis=0), "series": theme.REAL}
    )
    lines = pd.concat(
        [
            pd.DataFrame({"share": levels, "value": values, "series": label})
            for label, values in {theme.REAL: real.mean(axis=0), **simulated}.items()
        ]
    )
    scale = theme.value_scale(lines["value"].to_numpy())
    share = alt.Y(
        "share:Q",
        title=f"share of {metric.share_of}",
        axis=alt.Axis(format="%"),
        scale=alt.Scale(domain=[0, 1]),
    )
    low, value = (
        alt.X(f"{name}:Q", scale=scale, title=f"{metric.name} (ms)") for name in ("low", "value")
    )
    colour = theme.series_colour(labels, line=True)
    area = alt.Chart(theme.records(band)).mark_area(opacity=0.22, orient="horizontal")
    curves = alt.Chart(theme.records(lines)).mark_line(strokeWidth=2, interpolate="linear")
    layers = area.encode(y=share, x=low, x2="high:Q", color=colour) + curves.encode(
        y=share,
        x=value,
        order="share:Q",
        color=colour,
        strokeDash=theme.series_dash(labels),
        tooltip=["series:N", *theme.tooltips(value=".4g", share=".1%")],
    )
    return layers.properties(width=440, height=200, title=metric.name)

"""Quantiles of the simulation over the real runs' mean; the band spans the real runs."""

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


def figure(aligned: Aligned, findings: Findings) -> Figure:
    panels = [_panel(aligned, metric) for metric in latencies(findings.metrics)]
    return Figure(
        "qq",
        "Quantile against quantile",
        "On the diagonal the simulation is right; the band spans the real runs.",
        alt.concat(*(panel for panel in panels if panel is not None), columns=2),
    )


def _panel(aligned: Aligned, metric: Distribution) -> alt.TopLevelMixin | None:
    levels = np.concatenate([np.linspace(0.01, 0.99, 99), [0.995, 0.999]])
    found = quantile_curves(aligned, metric, levels)
    if found is None or not found[1]:
        return None
    real, simulated = found
    labels = [run.label for run in aligned.simulated]
    mean = real.mean(axis=0)
    band = pd.DataFrame(
        {"real": mean, "low": real.min(axis=0), "high": real.max(axis=0), "series": theme.REAL}
    )
    points = pd.concat(
        [
            pd.DataFrame({"real": mean, "simulated": values, "level": levels, "series": label})
            for label, values in simulated.items()
        ]
    )
    values = np.concatenate([mean, points["simulated"].to_numpy()])
    scale = theme.value_scale(values)
    x = alt.X("real:Q", scale=theme.value_scale(values, mean), title=f"real {metric.name} (ms)")
    y = alt.Y("simulated:Q", scale=scale)
    colour = theme.series_colour(labels)
    area = alt.Chart(theme.records(band)).mark_area(opacity=0.3)
    area = area.encode(
        x=x,
        y=alt.Y("low:Q", scale=scale, title=f"simulated {metric.name} (ms)"),
        y2="high:Q",
        color=colour,
    )
    ends = pd.DataFrame({"real": mean[[0, -1]], "simulated": mean[[0, -1]]})
    line = alt.Chart(theme.records(ends)).mark_line(strokeDash=[4, 4], strokeWidth=1, opacity=0.8)
    dots = alt.Chart(theme.records(points)).mark_point(size=26, opacity=0.9)
    dots = dots.encode(
        x=x,
        y=y,
        color=colour,
        shape=alt.Shape("series:N", scale=alt.Scale(domain=[theme.REAL, *labels])),
        tooltip=["series:N", *theme.tooltips(level=".1%", real=".4g", simulated=".4g")],
    )
    return (area + line.encode(x=x, y=y, color=alt.datum(theme.REAL)) + dots).properties(
        width=440, height=240, title=metric.name
    )

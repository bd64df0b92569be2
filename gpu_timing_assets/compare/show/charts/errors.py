"""The judged simulation's errors with their intervals, over the real runs' noise."""

import altair as alt
import numpy as np
import pandas as pd

from gpu_timing_assets.compare.findings import Findings
from gpu_timing_assets.compare.show import theme
from gpu_timing_assets.compare.show.figure import Figure
from gpu_timing_assets.config.comparison import ComparisonPreset


def figure(findings: Findings, preset: ComparisonPreset) -> Figure | None:
    rows = [vars(row) for row in findings.judged_rows if row.error_pct is not None]
    if not rows:
        return None
    return Figure(
        "errors",
        f"Errors of {findings.judged}",
        f"Point: signed error; line: its {preset.confidence_pct:g} % "
        "interval; grey bar: noise of the real runs; dashed and dotted: the bounds that "
        "pass and warn.",
        _chart(pd.DataFrame(rows), preset),
    )


def _chart(frame: pd.DataFrame, preset: ComparisonPreset) -> alt.TopLevelMixin:
    frame = frame.assign(
        key=frame["metric"] + " " + frame["statistic"], minus=-frame["noise_pct"].astype(float)
    )
    ends = frame[["error_pct", "low_pct", "high_pct", "noise_pct"]].to_numpy(dtype=float)
    reach = max(float(np.nanmax(np.abs(ends))), preset.warn_pct) * 1.05
    scale = alt.Scale(domain=[-reach, reach], nice=False)
    y = alt.Y("key:N", sort=frame["key"].tolist(), title=None, axis=alt.Axis(grid=False))
    base = alt.Chart(
        theme.records(
            frame[["key", "error_pct", "low_pct", "high_pct", "noise_pct", "minus", "verdict"]]
        )
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
    figures = theme.tooltips(error_pct="+.2f", low_pct="+.2f", high_pct="+.2f", noise_pct=".2f")
    dots = base.mark_point(filled=True, size=80, opacity=1).encode(
        y=y,
        x=alt.X("error_pct:Q", scale=scale),
        color=theme.verdict_colour(),
        shape=theme.verdict_shape(),
        tooltip=["key:N", *figures, "verdict:N"],
    )
    return (noise + _bounds(preset, scale) + lines + dots).properties(
        width=820, height=alt.Step(19)
    )


def _bounds(preset: ComparisonPreset, scale: alt.Scale) -> alt.Chart:
    at = [-preset.warn_pct, -preset.pass_pct, 0.0, preset.pass_pct, preset.warn_pct]
    bounds = pd.DataFrame({"at": at, "kind": ["warn", "pass", "zero", "pass", "warn"]})
    dashes = alt.Scale(domain=["zero", "pass", "warn"], range=[[1, 0], [4, 3], [1, 3]])
    return (
        alt.Chart(theme.records(bounds))
        .mark_rule(opacity=0.7)
        .encode(
            x=alt.X("at:Q", scale=scale),
            strokeDash=alt.StrokeDash("kind:N", legend=None, scale=dashes),
        )
    )

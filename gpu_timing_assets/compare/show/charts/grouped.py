"""Error of the mean in each group of requests."""

import altair as alt
import pandas as pd

from gpu_timing_assets.compare.explain.grouped import GROUPED_ERRORS, TIME
from gpu_timing_assets.compare.findings import Findings
from gpu_timing_assets.compare.show import theme
from gpu_timing_assets.compare.show.figure import Figure
from gpu_timing_assets.metrics.registry import request_latencies

COLUMNS = ["middle", "low", "high", "requests", "metric", "error_pct", "noise_pct"]


def figure(findings: Findings) -> Figure:
    chosen = findings.of_judged(GROUPED_ERRORS)
    chosen = chosen[chosen["error_pct"].notna()]
    chosen = chosen.astype({"error_pct": float, "noise_pct": float})
    chosen = chosen.assign(middle=(chosen["low"] + chosen["high"]) / 2)
    names = [metric.name for metric in request_latencies(findings.metrics)]
    panels = [
        _panel(chosen.loc[chosen["grouped_by"] == grouped_by, COLUMNS], grouped_by, names)
        for grouped_by in dict.fromkeys(chosen["grouped_by"])
    ]
    return Figure(
        "grouped",
        f"Where {findings.judged} is wrong",
        "Error of the mean over groups of requests: by load, by prompt and "
        "output length, and over the run's time.",
        alt.concat(*panels, columns=2),
    )


def _panel(points: pd.DataFrame, grouped_by: str, names: list[str]) -> alt.TopLevelMixin:
    by_time = alt.Scale(zero=False, nice=False, padding=8)
    scale = by_time if grouped_by == TIME else theme.value_scale(points["middle"].to_numpy())
    base = alt.Chart(theme.records(points)).encode(
        x=alt.X("middle:Q", title=grouped_by, scale=scale),
        y=alt.Y("error_pct:Q", title="error of the mean (%)"),
        color=alt.Color(
            "metric:N", scale=alt.Scale(domain=names), legend=alt.Legend(symbolSize=90)
        ),
    )
    dashes = alt.Scale(domain=names, range=theme.DASHES[: len(names)])
    lines = base.mark_line(strokeWidth=2).encode(
        strokeDash=alt.StrokeDash("metric:N", scale=dashes)
    )
    errors = theme.tooltips(error_pct="+.2f", noise_pct=".2f")
    dots = base.mark_point(filled=True, size=50, opacity=1).encode(
        shape=alt.Shape("metric:N", legend=None, scale=alt.Scale(domain=names)),
        tooltip=["metric:N", "requests:Q", "low:Q", "high:Q", *errors],
    )
    at_zero = alt.Chart(theme.records(pd.DataFrame({"at": [0.0]}))).mark_rule(opacity=0.7)
    return (at_zero.encode(y="at:Q") + lines + dots).properties(width=440, height=170)

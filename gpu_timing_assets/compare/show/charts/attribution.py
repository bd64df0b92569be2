"""Each layer's share of the error, side by side; the tick is the whole error, their sum."""

import altair as alt

from gpu_timing_assets.compare.explain.attribution import ATTRIBUTION
from gpu_timing_assets.compare.findings import Findings
from gpu_timing_assets.compare.show import theme
from gpu_timing_assets.compare.show.figure import Figure
from gpu_timing_assets.metrics.registry import latencies

COLOURS = ["#0f7fc4", "#e0812f", "#8d96a0"]


def figure(findings: Findings) -> Figure | None:
    chosen = findings.of_judged(ATTRIBUTION)
    if chosen.empty:
        return None
    names = [metric.name for metric in latencies(findings.metrics)]
    chosen = chosen[chosen["metric"].isin(names)]
    chosen = chosen.assign(key=chosen["metric"] + " " + chosen["statistic"])
    layers = list(dict.fromkeys(chosen["layer"]))
    order = list(dict.fromkeys(chosen["key"]))
    y = alt.Y("key:N", sort=order, title=None, axis=alt.Axis(grid=False))
    shares = theme.tooltips(share_pct="+.2f", substituted_error_pct="+.2f")
    bars = (
        alt.Chart(theme.records(chosen[["key", "layer", "share_pct", "substituted_error_pct"]]))
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
                "layer:N", scale=alt.Scale(domain=layers, range=COLOURS[: len(layers)])
            ),
            order=alt.Order("layer:N"),
            tooltip=["key:N", "layer:N", *shares],
        )
    )
    totals = chosen.drop_duplicates("key")[["key", "error_pct"]]
    ticks = alt.Chart(theme.records(totals)).mark_tick(thickness=3, height=15)
    ticks = ticks.encode(y=y, x="error_pct:Q", tooltip=["key:N", *theme.tooltips(error_pct="+.2f")])
    return Figure(
        "attribution",
        "Error by layer",
        "What the error loses when a layer is replaced by what the "
        "real engine did. The shares add up to the whole error (tick).",
        (bars + ticks).properties(width=820, height=alt.Step(19)),
    )

"""Each layer's share of the error, side by side from zero; the tick is the whole error, their
sum.
"""

import altair as alt

from gpu_timing_assets.compare.explain.attribution import ATTRIBUTION
from gpu_timing_assets.compare.findings import Findings
from gpu_timing_assets.compare.show.figure import Figure
from gpu_timing_assets.compare.show.theme import ERROR_TOOLTIP, records
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
                "layer:N", scale=alt.Scale(domain=layers, range=COLOURS[: len(layers)])
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
    ticks = alt.Chart(records(totals)).mark_tick(thickness=3, height=15)
    ticks = ticks.encode(y=y, x="error_pct:Q", tooltip=["key:N", ERROR_TOOLTIP])
    return Figure(
        "attribution",
        "Error by layer",
        "What the error loses when a layer is replaced by what the "
        "real engine did. The shares add up to the whole error (tick).",
        (bars + ticks).properties(width=820, height=alt.Step(19)),
    )

"""Running requests and batch size over time; drag to move, scroll to zoom, in both at once."""

import altair as alt
import pandas as pd

from gpu_timing_assets.compare.explain.over_time import LOAD_OVER_TIME
from gpu_timing_assets.compare.findings import Findings
from gpu_timing_assets.compare.show import theme
from gpu_timing_assets.compare.show.figure import Figure

TITLES = {"running_requests": "running requests", "batch_size": "requests in a step"}


def figure(findings: Findings) -> Figure:
    table = findings.tables[LOAD_OVER_TIME]
    labels = list(dict.fromkeys(table.loc[table["side"] == "simulated", "series"]))
    drawn = [findings.judged, *(label for label in labels if label != findings.judged)][:3]
    zoom = alt.selection_interval(name="zoom", encodings=["x"], bind="scales")
    panels = [
        _panel(table, column, labels, drawn, zoom).properties(width=956, height=150)
        for column in TITLES
        if table[column].notna().any()
    ]
    return Figure(
        "over_time",
        "Load over time",
        "Mean over short windows; the band spans the real runs. Scroll to zoom, drag "
        "to move, double-click to reset.",
        alt.vconcat(*panels),
    )


def _panel(
    table: pd.DataFrame, column: str, labels: list[str], drawn: list[str], zoom: alt.Parameter
) -> alt.LayerChart:
    real = table[table["side"] == "real"].groupby("time_s", as_index=False)
    band = real[column].agg(["min", "max", "mean"]).assign(series=theme.REAL)
    lines = [
        band.rename(columns={"mean": "value"}),
        table[table["series"].isin(drawn)].rename(columns={column: "value"}),
    ]
    points = pd.concat([line[["time_s", "value", "series"]] for line in lines])
    x = alt.X("time_s:Q", title="time (s)", scale=alt.Scale(nice=False, zero=False))
    colour = theme.series_colour(labels, line=True)
    area = alt.Chart(theme.records(band[["time_s", "min", "max", "series"]]))
    area = area.mark_area(opacity=0.25, interpolate="step").encode(
        x=x, y=alt.Y("min:Q", title=TITLES[column]), y2="max:Q", color=colour
    )
    curves = alt.Chart(theme.records(points)).mark_line(strokeWidth=1.5, interpolate="step")
    curves = curves.encode(
        x=x,
        y=alt.Y("value:Q", title=TITLES[column]),
        color=colour,
        strokeDash=theme.series_dash(labels),
        tooltip=["series:N", *theme.tooltips(time_s=".2f", value=".3g")],
    )
    return area + curves.add_params(zoom)

"""The size of each error over the load."""

import altair as alt
import pandas as pd

from gpu_timing_assets.compare.show import theme
from gpu_timing_assets.compare.show.figure import Figure

COLUMNS = ["row", "key", "simulation", "metric", "mean_running_requests", "size", "error_pct"]
SHAPES = ["circle", "cross", "triangle-up", "square", "diamond"]


def figure(errors: pd.DataFrame) -> Figure:
    points = errors.assign(size=errors["error_pct"].abs())
    chart = (
        alt.Chart(theme.records(points[COLUMNS]))
        .mark_point(size=60, opacity=0.9)
        .encode(
            x=alt.X(
                "mean_running_requests:Q",
                title="mean running requests",
                scale=alt.Scale(zero=False, nice=True, padding=20),
            ),
            y=alt.Y("size:Q", title="|error| (%)", scale=alt.Scale(type="symlog")),
            color=alt.Color("metric:N"),
            shape=alt.Shape("simulation:N", scale=alt.Scale(range=SHAPES)),
            tooltip=["row:N", "key:N", *theme.tooltips(error_pct="+.2f")],
        )
    )
    return Figure(
        "load",
        "Error against load",
        "Load: requests in the engine at a time, mean over the real run.",
        chart.properties(width=520, height=300),
    )

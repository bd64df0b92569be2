"""The size of each error over the noise of the real runs."""

import altair as alt
import pandas as pd

from gpu_timing_assets.compare.show import theme
from gpu_timing_assets.compare.show.figure import Figure

SMALLEST_PCT = 0.05


def figure(errors: pd.DataFrame) -> Figure:
    points = errors.assign(
        size=errors["error_pct"].abs().clip(lower=SMALLEST_PCT),
        noise=errors["noise_pct"].clip(lower=SMALLEST_PCT),
    )
    points = points[["row", "key", "metric", "noise", "size", "error_pct", "noise_pct", "verdict"]]
    largest = max(100.0, *points["size"], *points["noise"])
    scale = alt.Scale(type="log", domain=[SMALLEST_PCT, largest])
    dots = (
        alt.Chart(theme.records(points))
        .mark_point(size=60, opacity=0.9)
        .encode(
            x=alt.X("noise:Q", scale=scale, title="noise (%)"),
            y=alt.Y("size:Q", scale=scale, title="|error| (%)"),
            color=alt.Color("metric:N"),
            shape=alt.Shape("metric:N"),
            tooltip=["row:N", "key:N", *theme.tooltips(error_pct="+.2f", noise_pct=".2f")],
        )
    )
    ends = alt.Chart(theme.records(pd.DataFrame({"at": [SMALLEST_PCT, 100.0]})))
    equal = ends.mark_line(strokeDash=[4, 4], opacity=0.6).encode(x="at:Q", y="at:Q")
    return Figure(
        "noise",
        "Error against noise",
        "Each point is a statistic. Left of the diagonal the error is larger than the "
        "noise of the real engine.",
        (equal + dots).properties(width=520, height=360),
    )

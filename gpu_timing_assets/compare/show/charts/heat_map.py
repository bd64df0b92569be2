"""Errors of every comparison and simulation at once."""

import altair as alt
import pandas as pd

from gpu_timing_assets.compare.show import theme
from gpu_timing_assets.compare.show.figure import Figure
from gpu_timing_assets.core.comparison import BELOW_NOISE

# pale in the middle, so that the sign shows and the digits can be read on either theme
COLOURS = alt.Scale(domain=[-25, 0, 25], range=["#6fb1ea", "#f2f2f2", "#f0a35e"], clamp=True)


def figure(errors: pd.DataFrame, order: list[str]) -> Figure:
    """`errors` has `row` and `key`, which `order` sorts."""
    noisy = errors["verdict"] == BELOW_NOISE
    cells = errors.assign(
        shown=noisy.map({True: "≈", False: ""}) + errors["error_pct"].map("{:+.1f}".format),
        # one that lies below noise is pale: the engine differs from itself as much
        shade=errors["error_pct"].where(~noisy, errors["error_pct"] / 5),
    )
    cells = cells[["row", "key", "shade", "error_pct", "noise_pct", "verdict", "shown"]]
    base = alt.Chart(theme.records(cells)).encode(
        x=alt.X("key:N", sort=order, title=None, axis=alt.Axis(orient="top", labelAngle=-35)),
        y=alt.Y("row:N", title=None, axis=alt.Axis(labelLimit=420)),
    )
    boxes = base.mark_rect().encode(
        color=alt.Color("shade:Q", title="error (%)", scale=COLOURS),
        tooltip=["row:N", "key:N", *theme.tooltips(error_pct="+.2f", noise_pct=".2f"), "verdict:N"],
    )
    text = base.mark_text(fontSize=11, fontWeight="bold", color="#1f2328").encode(text="shown:N")
    return Figure(
        "heat",
        "Errors",
        "Signed error in percent; ≈ and pale: below the noise of the real engine. Blue is "
        "too fast, orange too slow; the scale ends at ±25 %.",
        (boxes + text).properties(width=alt.Step(52), height=alt.Step(24)),
    )

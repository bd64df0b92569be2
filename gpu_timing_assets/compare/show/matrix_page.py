"""The page of the fidelity matrix: errors of everything at once, beside the noise and over the
load.
"""

from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

from gpu_timing_assets.compare.show import plots
from gpu_timing_assets.compare.show.report import script_json, templates, vega_bundle


def write_matrix_page(
    path: Path,
    rows: list[dict[str, Any]],
    errors: pd.DataFrame,
    shown: tuple[tuple[str, str], ...],
) -> None:
    """Write the page. `errors`: one row a comparison, simulation, metric and statistic; `shown`:
    the columns to draw.
    """
    frame = errors.assign(
        key=errors["metric"] + " " + errors["statistic"],
        row=errors["comparison_id"] + " · " + errors["simulation"],
    )
    order = [f"{metric} {name}" for metric, name in shown]
    frame = frame[frame["key"].isin(order) & frame["error_pct"].notna()]
    with_noise = frame[frame["noise_pct"].notna()]
    charts = []
    if not frame.empty:
        charts.append(
            plots.Figure(
                "heat",
                "Errors",
                "Signed error in percent; ≈ and pale: below the noise of the real engine. Blue is "
                "too fast, orange too slow; the scale ends at ±25 %.",
                _heat_map(frame, order),
            )
        )
    if not with_noise.empty:  # it takes two real runs
        charts.append(
            plots.Figure(
                "noise",
                "Error against noise",
                "Each point is a statistic. Left of the diagonal the error is larger than the "
                "noise of the real engine.",
                _against_noise(with_noise),
            )
        )
    if not frame.empty:
        charts.append(
            plots.Figure(
                "load",
                "Error against load",
                "Load: requests in the engine at a time, mean over the real run.",
                _against_load(frame),
            )
        )
    specifications = {figure.name: plots.specification(figure.chart) for figure in charts}
    bundle = vega_bundle() if charts else ""
    path.write_text(
        templates()
        .get_template("fidelity_matrix.html.j2")
        .render(
            rows=rows,
            figures=charts,
            bundle=bundle.replace("</script", "<\\/script"),
            specifications=script_json(specifications),
            themes=script_json({mode: plots.theme(mode) for mode in ("light", "dark")}),
        ),
        encoding="utf-8",
    )


def _heat_map(frame: pd.DataFrame, order: list[str]) -> alt.TopLevelMixin:
    cells = frame.assign(
        shown=[
            f"{'≈' if verdict == 'below noise' else ''}{error:+.1f}"
            for error, verdict in zip(frame["error_pct"], frame["verdict"], strict=True)
        ]
    )
    # one that lies below noise is pale: the engine differs from itself as much
    cells["shade"] = cells["error_pct"].where(
        cells["verdict"] != "below noise", cells["error_pct"] / 5
    )
    cells = cells[["row", "key", "shade", "error_pct", "noise_pct", "verdict", "shown"]]
    base = alt.Chart(plots.records(cells)).encode(
        x=alt.X("key:N", sort=order, title=None, axis=alt.Axis(orient="top", labelAngle=-35)),
        y=alt.Y("row:N", title=None, axis=alt.Axis(labelLimit=420)),
    )
    boxes = base.mark_rect().encode(
        color=alt.Color(
            "shade:Q",
            title="error (%)",
            scale=alt.Scale(
                domain=[-25, 0, 25], range=["#6fb1ea", "#f2f2f2", "#f0a35e"], clamp=True
            ),
        ),
        tooltip=[
            "row:N",
            "key:N",
            alt.Tooltip("error_pct:Q", format="+.2f"),
            alt.Tooltip("noise_pct:Q", format=".2f"),
            "verdict:N",
        ],
    )
    text = base.mark_text(fontSize=11, fontWeight="bold", color="#1f2328").encode(text="shown:N")
    return (boxes + text).properties(width=alt.Step(52), height=alt.Step(24))


def _against_noise(frame: pd.DataFrame) -> alt.TopLevelMixin:
    points = frame.assign(
        size=frame["error_pct"].abs().clip(lower=0.05), noise=frame["noise_pct"].clip(lower=0.05)
    )
    points = points[["row", "key", "metric", "noise", "size", "error_pct", "noise_pct", "verdict"]]
    scale = alt.Scale(type="log", domain=[0.05, max(100.0, *points["size"], *points["noise"])])
    dots = (
        alt.Chart(plots.records(points))
        .mark_point(size=60, opacity=0.9)
        .encode(
            x=alt.X("noise:Q", scale=scale, title="noise (%)"),
            y=alt.Y("size:Q", scale=scale, title="|error| (%)"),
            color=alt.Color("metric:N"),
            shape=alt.Shape("metric:N"),
            tooltip=[
                "row:N",
                "key:N",
                alt.Tooltip("error_pct:Q", format="+.2f"),
                alt.Tooltip("noise_pct:Q", format=".2f"),
            ],
        )
    )
    ends = pd.DataFrame({"at": [0.05, 100.0]})
    diagonal = (
        alt.Chart(plots.records(ends))
        .mark_line(strokeDash=[4, 4], opacity=0.6)
        .encode(x="at:Q", y="at:Q")
    )
    return (diagonal + dots).properties(width=520, height=360)


def _against_load(frame: pd.DataFrame) -> alt.TopLevelMixin:
    points = frame.assign(size=frame["error_pct"].abs())
    points = points[
        ["row", "key", "simulation", "metric", "mean_running_requests", "size", "error_pct"]
    ]
    return (
        alt.Chart(plots.records(points))
        .mark_point(size=60, opacity=0.9)
        .encode(
            x=alt.X(
                "mean_running_requests:Q",
                title="mean running requests",
                scale=alt.Scale(zero=False, nice=True, padding=20),
            ),
            y=alt.Y("size:Q", title="|error| (%)", scale=alt.Scale(type="symlog")),
            color=alt.Color("metric:N"),
            shape=alt.Shape(
                "simulation:N",
                scale=alt.Scale(range=["circle", "cross", "triangle-up", "square", "diamond"]),
            ),
            tooltip=["row:N", "key:N", alt.Tooltip("error_pct:Q", format="+.2f")],
        )
        .properties(width=520, height=300)
    )

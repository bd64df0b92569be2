"""Requests one by one, in three linked plots; a click in one picks the request in all."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from gpu_timing_assets.compare.explain.grouped import running_at_arrival
from gpu_timing_assets.compare.explain.request_pairs import REQUESTS
from gpu_timing_assets.compare.findings import Findings
from gpu_timing_assets.compare.gate.align import Aligned
from gpu_timing_assets.compare.show.figure import Figure
from gpu_timing_assets.compare.show.theme import REAL, records, series_colour, value_scale
from gpu_timing_assets.metrics.e2e import METRIC as E2E
from gpu_timing_assets.metrics.ttft import METRIC as TTFT

SCATTER_POINTS = 1500


def figure(aligned: Aligned, findings: Findings) -> Figure:
    load = np.mean([running_at_arrival(run) for run in aligned.real], axis=0)
    labels = [run.label for run in aligned.simulated]
    points = _points(findings.tables[REQUESTS], load, labels)
    judged = points[points["series"] == findings.judged]
    return Figure(
        "requests",
        "Request by request",
        "Click a request to find it in the other plots, shift-click for more, "
        "double-click to clear. Real values are the mean over the real runs.",
        _chart(points, judged[["real", "simulated"]].to_numpy().ravel(), labels, findings.judged),
    )


def _points(table: pd.DataFrame, load: np.ndarray, labels: list[str]) -> pd.DataFrame:
    """Down-sampled; `load`: requests running at each one's arrival, shape (requests,)."""
    shown = min(len(load), SCATTER_POINTS // len(labels))
    kept = np.unique(np.linspace(0, len(load) - 1, shown).round().astype(int))
    parts = []
    for label in labels:
        part = table[table["simulation"] == label].iloc[kept].reset_index(drop=True)
        parts.append(
            pd.DataFrame(
                {
                    "request": part["request_id"],
                    "series": label,
                    "arrival_s": part["arrival_ms"] / 1000,
                    "running": load[kept],
                    "real": part[f"real_{TTFT.slug}_ms"],
                    "simulated": part[f"simulated_{TTFT.slug}_ms"],
                    "e2e_error": 100
                    * (part[f"simulated_{E2E.slug}_ms"] / part[f"real_{E2E.slug}_ms"] - 1),
                    "prompt": part["num_prefill_tokens"],
                    "output": part["num_decode_tokens"],
                }
            )
        )
    return pd.concat(parts)


def _chart(
    points: pd.DataFrame, ttft_ms: np.ndarray, labels: list[str], judged: str
) -> alt.TopLevelMixin:
    """`ttft_ms`: both sides' of the judged simulation, which the axes span."""
    scale = value_scale(ttft_ms)
    picked = alt.selection_point(name="picked", fields=["request"], empty=True)
    marks = _marks(labels, picked)
    chosen = alt.Chart(records(points)).transform_filter("datum.series === shown")
    dots = chosen.mark_point(filled=True)
    ends = pd.DataFrame({"at": [ttft_ms.min(), ttft_ms.max()]})
    diagonal = alt.Chart(records(ends)).mark_line(strokeDash=[4, 4], strokeWidth=1)
    diagonal = diagonal.encode(
        x=alt.X("at:Q", scale=scale), y=alt.Y("at:Q", scale=scale), color=alt.datum(REAL)
    )
    real_x = alt.X("real:Q", scale=scale, title=f"real {TTFT.name} (ms)")
    simulated_y = alt.Y("simulated:Q", scale=scale, title=f"simulated {TTFT.name} (ms)")
    scatter = dots.encode(x=real_x, y=simulated_y, **marks).add_params(picked)
    arrival = alt.X("arrival_s:Q", title="arrival (s)", scale=alt.Scale(zero=False, nice=False))
    real_points = (
        chosen.transform_calculate(series=f"'{REAL}'")
        .mark_point(filled=True, shape="square")
        .encode(x=arrival, y=alt.Y("real:Q", scale=scale, title=f"{TTFT.name} (ms)"), **marks)
    )
    simulated_points = dots.encode(x=arrival, y=alt.Y("simulated:Q", scale=scale), **marks)
    by_load = dots.encode(
        x=alt.X("running:Q", title="requests running at arrival"),
        y=alt.Y("e2e_error:Q", title=f"{E2E.name} error (%)"),
        **marks,
    )
    left = (diagonal + scatter).properties(
        width=440, height=260, title=f"{TTFT.name}, request by request"
    )
    right = by_load.add_params(picked).properties(
        width=440, height=260, title=f"{E2E.name} error over load"
    )
    bottom = (real_points + simulated_points.add_params(picked)).properties(
        width=956, height=220, title=f"{TTFT.name} over arrival time"
    )
    choice = {"bind": alt.binding_select(options=labels, name="simulation ")}
    shown = alt.param(name="shown", value=judged, **(choice if len(labels) > 1 else {}))
    return alt.vconcat(alt.hconcat(left, right), bottom).add_params(shown)


def _marks(labels: list[str], picked: alt.Parameter) -> dict[str, Any]:
    """What all three plots encode alike."""
    return {
        "color": series_colour(labels),
        "opacity": alt.when(picked).then(alt.value(0.85)).otherwise(alt.value(0.08)),
        "size": alt.when(picked, empty=False).then(alt.value(150)).otherwise(alt.value(28)),
        "tooltip": [
            *(alt.Tooltip("request:Q"), "prompt:Q", "output:Q"),
            alt.Tooltip("arrival_s:Q", format=".3f", title="arrival (s)"),
            alt.Tooltip("running:Q", format=".1f", title="running at arrival"),
            alt.Tooltip("real:Q", format=".4g", title=f"real {TTFT.name} (ms)"),
            alt.Tooltip("simulated:Q", format=".4g", title=f"simulated {TTFT.name} (ms)"),
            alt.Tooltip("e2e_error:Q", format="+.2f", title=f"{E2E.name} error (%)"),
        ],
    }

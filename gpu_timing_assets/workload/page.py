"""`workload.html`: arrivals, rate and lengths at a glance, in a file that needs no network."""

import html
from pathlib import Path
from typing import Any

import numpy as np

from gpu_timing_assets.core.workload import WorkloadMeta, said_of_source
from gpu_timing_assets.workload.exact_math import Floats
from gpu_timing_assets.workload.requests import Integers, Requests
from gpu_timing_assets.workload.times import NS_PER_S

PAGE_FILE = "workload.html"
BINS, JOINT_BINS, CURVE_POINTS = 60, 32, 400
_SIZE = {"width": 420, "height": 190}


def write_page(directory: Path, meta: WorkloadMeta, requests: Requests) -> Path:
    """Draw the workload, binned before it is drawn: a million requests make no larger page."""
    import vl_convert

    picture = vl_convert.vegalite_to_svg(_charts(requests).to_json())
    page = _PAGE.format(title=html.escape(meta.workload_id), facts=_facts(meta), picture=picture)
    path = directory / PAGE_FILE
    path.write_text(page, encoding="utf-8")
    return path


def _facts(meta: WorkloadMeta) -> str:
    rate = meta.mean_rate_per_s
    facts = {
        "requests": f"{meta.num_requests:,}",
        "prompt tokens": f"{meta.num_prefill_tokens:,}",
        "output tokens": f"{meta.num_decode_tokens:,}",
        "duration": f"{meta.duration_ns / NS_PER_S:,.2f} s",
        "mean rate": "all at once" if rate is None else f"{rate:,.3g} requests/s",
        "seed": str(meta.seed),
        "source": str(meta.source.get("name", meta.source.get("kind"))),
        "tokenizer": str(meta.tokenizer.name),
        "workload_sha256": meta.workload_sha256,
    }
    if said := said_of_source(meta):
        facts["of the source"] = "; ".join(said)
    if meta.closed_loop is not None:
        facts["closed loop"] = (
            f"{meta.closed_loop.users} users; the arrivals shown are the earliest ones, as if no "
            "request took any time"
        )
    return "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>"
        for name, value in facts.items()
    )


def _charts(requests: Requests) -> Any:
    import altair as alt

    prefill, decode = requests.num_prefill_tokens, requests.num_decode_tokens
    arrivals_s = requests.arrival_time_ns / NS_PER_S
    lengths = {"x_title": "tokens", "y": "count", "y_title": "requests"}
    return (
        alt.vconcat(
            alt.hconcat(_arrivals_chart(arrivals_s), _rate_chart(arrivals_s)),
            alt.hconcat(
                _bars(_histogram(prefill, _edges(prefill, BINS)), "Prompt lengths", **lengths),
                _bars(_histogram(decode, _edges(decode, BINS)), "Output lengths", **lengths),
            ),
            _joint_lengths_chart(prefill, decode),
        )
        .resolve_scale(color="independent")
        .configure(background="white")
    )


def _arrivals_chart(arrivals_s: Floats) -> Any:
    import altair as alt
    import pandas as pd

    index = np.unique(np.linspace(0, len(arrivals_s) - 1, CURVE_POINTS).astype(np.int64))
    curve = pd.DataFrame({"time_s": arrivals_s[index], "requests": index + 1})
    return (
        alt.Chart(curve, title="Arrivals", **_SIZE)
        .mark_line(interpolate="step-after")
        .encode(
            x=alt.X("time_s:Q", title="time (s)"), y=alt.Y("requests:Q", title="requests so far")
        )
    )


def _rate_chart(arrivals_s: Floats) -> Any:
    bins = max(5, min(BINS, len(arrivals_s) // 5))
    edges = np.linspace(0, max(float(arrivals_s[-1]), 1e-9), bins + 1)
    rates = _histogram(arrivals_s, edges)
    rates["rate"] = rates["count"] / np.diff(edges)
    return _bars(rates, "Rate", x_title="time (s)", y="rate", y_title="requests/s")


def _bars(bins: Any, title: str, *, x_title: str, y: str, y_title: str) -> Any:
    import altair as alt

    return (
        alt.Chart(bins, title=title, **_SIZE)
        .mark_bar()
        .encode(
            x=alt.X("begin:Q", bin="binned", title=x_title),
            x2="end:Q",
            y=alt.Y(f"{y}:Q", title=y_title),
        )
    )


def _joint_lengths_chart(prefill: Integers, decode: Integers) -> Any:
    import altair as alt
    import pandas as pd

    prefill_edges, decode_edges = _edges(prefill, JOINT_BINS), _edges(decode, JOINT_BINS)
    counts, _, _ = np.histogram2d(prefill, decode, bins=(prefill_edges, decode_edges))
    rows, columns = np.nonzero(counts)
    cells = pd.DataFrame({"x": prefill_edges[rows], "x2": prefill_edges[rows + 1]})
    cells["y"], cells["y2"] = decode_edges[columns], decode_edges[columns + 1]
    cells["requests"] = counts[rows, columns]
    title = "Prompt and output lengths together"
    return (
        alt.Chart(cells, title=title, width=420, height=300)
        .mark_rect()
        .encode(
            x=alt.X("x:Q", title="prompt tokens"),
            x2="x2:Q",
            y=alt.Y("y:Q", title="output tokens"),
            y2="y2:Q",
            color=alt.Color("requests:Q", title="requests"),
        )
    )


def _edges(values: Integers, bins: int) -> Floats:
    """Whole-number edges of at most `bins` bins that hold all values."""
    low, high = int(values.min()), int(values.max()) + 1
    width = -(-(high - low) // bins)
    return np.arange(low, high + width, width, dtype=np.float64)


def _histogram(values: Any, edges: Floats) -> Any:
    import pandas as pd

    counts, _ = np.histogram(values, edges)
    return pd.DataFrame({"begin": edges[:-1], "end": edges[1:], "count": counts})


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 1080px;
        padding: 0 1em; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .2em 1em; }}
dt {{ color: #555; }} dd {{ margin: 0; overflow-wrap: anywhere; }}
svg {{ max-width: 100%; height: auto; }}
</style></head>
<body><h1>{title}</h1><dl>{facts}</dl>{picture}</body></html>
"""

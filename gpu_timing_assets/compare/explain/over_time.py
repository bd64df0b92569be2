"""How full the engine was over the run's time, on both sides."""

import numpy as np
import pandas as pd

from gpu_timing_assets.compare.gate.align import Aligned, Series

WINDOWS = 200


def load_over_time(aligned: Aligned) -> pd.DataFrame:
    """Running requests and batch size of every run in `WINDOWS` equal windows of time.

    `running_requests` is the mean over the window of the requests that have arrived and not
    finished; `batch_size` the mean requests in a step that was scheduled in the window, empty where
    none was or steps were not recorded.
    """
    runs = (*aligned.real, *aligned.simulated)
    start = int(aligned.grid.arrival_ns.min())
    edges = np.linspace(start, max(int(series.last_ns.max()) for series in runs), WINDOWS + 1)
    parts = []
    for series in runs:
        side = "real" if series in aligned.real else "simulated"
        parts.append(
            pd.DataFrame(
                {
                    "run_id": series.run.meta.run_id,
                    "series": "real" if side == "real" else series.label,
                    "side": side,
                    "time_s": (edges[:-1] + edges[1:]) / 2e9,
                    "running_requests": _running(series, edges),
                    "batch_size": _batch_size(series, edges),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _running(series: Series, edges: np.ndarray) -> np.ndarray:
    """Exact means: the integral of the running requests up to each edge, differenced."""
    arrivals, ends = np.sort(series.grid.arrival_ns), np.sort(series.last_ns)
    integral = _time_since(arrivals, edges) - _time_since(ends, edges)
    return np.diff(integral) / np.diff(edges)


def _time_since(moments: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Sum over the moments before each edge of the time since them; `moments` sorted."""
    before = np.searchsorted(moments, edges)
    sums = np.concatenate([[0.0], np.cumsum(moments, dtype=float)])
    return before * edges - sums[before]


def _batch_size(series: Series, edges: np.ndarray) -> np.ndarray:
    steps = series.run.steps
    if steps is None or steps.empty:
        return np.full(len(edges) - 1, np.nan)
    size = (steps["num_prefill_requests"] + steps["num_decode_requests"]).to_numpy(dtype=float)
    window = np.searchsorted(edges, steps["schedule_begin_ns"].to_numpy(), side="right") - 1
    inside = (window >= 0) & (window < len(edges) - 1)
    counts = np.bincount(window[inside], minlength=len(edges) - 1)
    sums = np.bincount(window[inside], weights=size[inside], minlength=len(edges) - 1)
    return np.divide(sums, counts, out=np.full(len(edges) - 1, np.nan), where=counts > 0)

"""How full the engine was over the run's time, on both sides."""

import numpy as np
import pandas as pd

from gpu_timing_assets.compare.gate.align import Aligned, AlignedRun
from gpu_timing_assets.compare.result_table import RUN_ID, SIDE, Column, table

WINDOWS = 200
LOAD_OVER_TIME = table(
    "load_over_time",
    RUN_ID,
    Column("series", "real, or the simulation's name"),
    SIDE,
    Column("time_s", "middle of the window, since the run's start", "s"),
    Column("running_requests", "arrived and not finished, mean over the window", "requests"),
    Column("batch_size", "mean over the steps scheduled in the window, if any", "requests"),
)


def load_over_time(aligned: Aligned) -> pd.DataFrame:
    """Running requests and batch size of every run in `WINDOWS` equal windows of time."""
    runs = (*aligned.real, *aligned.simulated)
    start = int(aligned.grid.arrival_ns.min())
    edges = np.linspace(start, max(int(run.last_ns.max()) for run in runs), WINDOWS + 1)
    parts = [
        pd.DataFrame(
            {
                "run_id": run.run.meta.run_id,
                "series": "real" if run.run.is_real else run.label,
                "side": run.run.side,
                "time_s": (edges[:-1] + edges[1:]) / 2e9,
                "running_requests": _running(run, edges),
                "batch_size": _batch_size(run, edges),
            }
        )
        for run in runs
    ]
    return pd.concat(parts, ignore_index=True)


def _running(run: AlignedRun, edges: np.ndarray) -> np.ndarray:
    """Exact means: the integral of the running requests up to each edge, differenced."""
    arrivals, ends = np.sort(run.grid.arrival_ns), np.sort(run.last_ns)
    integral = _time_since(arrivals, edges) - _time_since(ends, edges)
    return np.diff(integral) / np.diff(edges)


def _time_since(moments: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Sum over the moments before each edge of the time since them; `moments` sorted."""
    before = np.searchsorted(moments, edges)
    sums = np.concatenate([[0.0], np.cumsum(moments, dtype=float)])
    return before * edges - sums[before]


def _batch_size(run: AlignedRun, edges: np.ndarray) -> np.ndarray:
    steps = run.run.steps
    if steps is None or steps.empty:
        return np.full(len(edges) - 1, np.nan)
    size = (steps["num_prefill_requests"] + steps["num_decode_requests"]).to_numpy(dtype=float)
    window = np.searchsorted(edges, steps["schedule_begin_ns"].to_numpy(), side="right") - 1
    inside = (window >= 0) & (window < len(edges) - 1)
    counts = np.bincount(window[inside], minlength=len(edges) - 1)
    sums = np.bincount(window[inside], weights=size[inside], minlength=len(edges) - 1)
    return np.divide(sums, counts, out=np.full(len(edges) - 1, np.nan), where=counts > 0)

"""Where in the workload the error lies: by load, by lengths, and over the run's time."""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from gpu_timing_assets.compare.gate.align import Aligned
from gpu_timing_assets.compare.judge.statistics import error_pct, noise_pct
from gpu_timing_assets.compare.result_table import ERROR_PCT, SIMULATION, Column, table
from gpu_timing_assets.metrics.metric import Metric
from gpu_timing_assets.metrics.registry import request_latencies
from gpu_timing_assets.metrics.served import ServedRun

GROUPS = 5
TIME_WINDOWS = 10
LOAD, PROMPT, OUTPUT, TIME = (
    *("requests running at arrival", "prompt tokens", "output tokens", "arrival (s)"),
)
GROUPED_ERRORS = table(
    "grouped_errors",
    SIMULATION,
    Column("grouped_by", "fifths of the requests by this, or tenths of the time of arrival"),
    Column("group", "number of the group, ascending"),
    Column("low", "smallest value in the group", "as grouped_by"),
    Column("high", "largest value in the group", "as grouped_by"),
    Column("requests", "requests in the group that have the metric", "requests"),
    Column("metric", "a latency with one value a request"),
    Column("real_ms", "mean over the group's requests and the real runs", "ms"),
    Column("simulated_ms", "mean over the group's requests", "ms"),
    ERROR_PCT,
    Column("noise_pct", "largest difference between two real runs, of their mean", "%"),
)


def grouped_errors(aligned: Aligned, metrics: Iterable[Metric]) -> pd.DataFrame:
    """Mean latencies of fifths by load, prompt and output length, and of tenths of the time."""
    values_ms = [
        (
            metric.name,
            [metric.per_request(run) for run in aligned.real],
            {run.label: metric.per_request(run) for run in aligned.simulated},
        )
        for metric in request_latencies(metrics)
    ]
    rows = []
    for grouped_by, sizes, group in _groupings(aligned):
        for number in np.unique(group):
            inside = group == number
            for metric_name, real_ms, simulated_ms in values_ms:
                usable = inside & ~np.isnan(np.mean(real_ms, axis=0))
                if not usable.any():
                    continue
                each = [float(values[usable].mean()) for values in real_ms]
                real = float(np.mean(each))
                for label, values in simulated_ms.items():
                    simulated = float(values[usable].mean())
                    rows.append(
                        dict(
                            simulation=label,
                            grouped_by=grouped_by,
                            group=int(number),
                            low=sizes[inside].min(),
                            high=sizes[inside].max(),
                            requests=int(usable.sum()),
                            metric=metric_name,
                            real_ms=real,
                            simulated_ms=simulated,
                            error_pct=error_pct(simulated, real),
                            noise_pct=noise_pct(each),
                        )
                    )
    return GROUPED_ERRORS.frame(rows)


def running_at_arrival(run: ServedRun) -> np.ndarray:
    """Requests that had arrived and not finished when each one arrived; shape (requests,)."""
    arrival_ns = run.grid.arrival_ns
    arrived = np.searchsorted(np.sort(arrival_ns), arrival_ns, side="left")
    finished = np.searchsorted(np.sort(run.last_ns), arrival_ns, side="right")
    return np.maximum(arrived - finished, 0)


def _groupings(aligned: Aligned) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """What requests are grouped by, its value of each request, and each one's group."""
    grid = aligned.grid
    load = np.mean([running_at_arrival(run) for run in aligned.real], axis=0)
    for name, values in ((LOAD, load), (PROMPT, grid.prefill_tokens), (OUTPUT, grid.tokens)):
        edges = np.unique(np.quantile(values, np.linspace(0, 1, GROUPS + 1)[1:-1]))
        yield name, values, np.searchsorted(edges, values, side="left")
    seconds = (grid.arrival_ns - grid.arrival_ns.min()) / 1e9
    width = max(float(seconds.max()), 1e-9) / TIME_WINDOWS
    yield TIME, seconds, np.minimum((seconds / width).astype(int), TIME_WINDOWS - 1)

"""The same request, real and simulated."""

from collections.abc import Iterable
from itertools import combinations

import numpy as np
import pandas as pd

from gpu_timing_assets.compare.gate.align import Aligned
from gpu_timing_assets.compare.result_table import METRIC, SIMULATION, Column, ResultTable, table
from gpu_timing_assets.metrics.metric import Metric, PerRequest
from gpu_timing_assets.metrics.registry import request_latencies

REQUEST_PAIRS = table(
    "request_pairs",
    SIMULATION,
    METRIC,
    Column("requests", "requests that have the metric", "requests"),
    Column("bias_ms", "mean over requests of simulated − real (mean of the runs)", "ms"),
    Column("bias_pct", "mean over requests of 100 · (simulated − real) / real", "%"),
    Column("mape_pct", "mean over requests of the absolute percentage", "%"),
    Column("mape_noise_pct", "the largest of that between two real runs", "%"),
    Column("pearson_r", "correlation of real and simulated over requests"),
)
REQUESTS = table(
    "requests",
    SIMULATION,
    Column("request_id", "the workload's request"),
    Column("arrival_ms", "planned arrival since the run's start", "ms"),
    Column("num_prefill_tokens", "prompt tokens", "tokens"),
    Column("num_decode_tokens", "output tokens compared", "tokens"),
)
"""And two columns for each latency of a request: see `requests_with`."""


def real_per_request(aligned: Aligned, metric: PerRequest) -> np.ndarray:
    """The mean over the real runs of each request's value; shape (requests,)."""
    return np.mean([metric.per_request(run) for run in aligned.real], axis=0)


def request_pairs(aligned: Aligned, metrics: Iterable[Metric]) -> pd.DataFrame:
    """Signed bias, MAPE and Pearson r over the requests, per latency of a request.

    r is empty where a side does not vary.
    """
    rows = []
    for metric in request_latencies(metrics):
        real = real_per_request(aligned, metric)
        usable = ~np.isnan(real) & (real > 0)
        if not usable.any():
            continue
        each = [metric.per_request(run)[usable] for run in aligned.real]
        among = [_mape(a, b) for a, b in combinations(each, 2)]
        for simulation in aligned.simulated:
            one, two = real[usable], metric.per_request(simulation)[usable]
            varies = len(one) > 2 and np.ptp(one) > 0 and np.ptp(two) > 0
            rows.append(
                dict(
                    simulation=simulation.label,
                    metric=metric.name,
                    requests=int(usable.sum()),
                    bias_ms=float((two - one).mean()),
                    bias_pct=float((100 * (two - one) / one).mean()),
                    mape_pct=_mape(one, two),
                    mape_noise_pct=max(among) if among else np.nan,
                    pearson_r=float(np.corrcoef(one, two)[0, 1]) if varies else np.nan,
                )
            )
    return REQUEST_PAIRS.frame(rows)


def _mape(real: np.ndarray, simulated: np.ndarray) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.abs(simulated - real) / real
    known = shares[np.isfinite(shares)]
    return float(100 * known.mean()) if len(known) else float("nan")


def requests_with(metrics: Iterable[Metric]) -> ResultTable:
    """`REQUESTS` with the columns of these metrics."""
    columns = [
        Column(f"{side}_{metric.slug}_ms", f"the request's {metric.name}, {which}", "ms")
        for metric in request_latencies(metrics)
        for side, which in (("real", "mean over the real runs"), ("simulated", "simulated"))
    ]
    return ResultTable(REQUESTS.name, (*REQUESTS.columns, *columns))


def request_table(aligned: Aligned, metrics: Iterable[Metric]) -> pd.DataFrame:
    """One row for each compared request and simulation: what the request was, and its latencies."""
    grid = aligned.grid
    parts = []
    for simulation in aligned.simulated:
        columns = {
            "simulation": simulation.label,
            "request_id": grid.request_id,
            "arrival_ms": grid.arrival_ns / 1e6,
            "num_prefill_tokens": grid.prefill_tokens,
            "num_decode_tokens": grid.tokens,
        }
        for metric in request_latencies(metrics):
            columns[f"real_{metric.slug}_ms"] = real_per_request(aligned, metric)
            columns[f"simulated_{metric.slug}_ms"] = metric.per_request(simulation)
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)

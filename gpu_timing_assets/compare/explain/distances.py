"""Distances between whole distributions."""

from collections.abc import Iterable
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from gpu_timing_assets.compare.gate.align import Aligned
from gpu_timing_assets.compare.result_table import METRIC, SIMULATION, Column, table
from gpu_timing_assets.metrics.metric import Metric
from gpu_timing_assets.metrics.registry import latencies

DISTANCES = table(
    "distances",
    SIMULATION,
    METRIC,
    Column("ks", "Kolmogorov–Smirnov distance, mean over the real runs", "share of 1"),
    Column("ks_noise", "the largest of that between two real runs", "share of 1"),
    Column("wasserstein_ms", "Wasserstein-1 distance, mean over the real runs", "ms"),
    Column("wasserstein_noise_ms", "the largest of that between two real runs", "ms"),
)


def distribution_distances(aligned: Aligned, metrics: Iterable[Metric]) -> pd.DataFrame:
    """Kolmogorov–Smirnov and Wasserstein-1 distance of each simulation from the real runs, per
    latency.

    A distance is the mean over the real runs of that to each run; its `noise` is the largest
    between two real runs (empty of one). A latency that a side does not have is left out.
    """
    rows = []
    for metric in latencies(metrics):
        real = [np.sort(metric.values(run)) for run in aligned.real]
        if not len(real[0]):
            continue
        among = [
            (_kolmogorov_smirnov(a, b), stats.wasserstein_distance(a, b))
            for a, b in combinations(real, 2)
        ]
        noise = np.max(among, axis=0) if among else (np.nan, np.nan)
        for simulation in aligned.simulated:
            simulated = np.sort(metric.values(simulation))
            if len(simulated):
                rows.append(
                    dict(
                        simulation=simulation.label,
                        metric=metric.name,
                        ks=np.mean([_kolmogorov_smirnov(one, simulated) for one in real]),
                        ks_noise=noise[0],
                        wasserstein_ms=np.mean(
                            [stats.wasserstein_distance(one, simulated) for one in real]
                        ),
                        wasserstein_noise_ms=noise[1],
                    )
                )
    return DISTANCES.frame(rows)


def _kolmogorov_smirnov(a: np.ndarray, b: np.ndarray) -> float:
    """Largest distance between the two empirical distribution functions; both sorted."""
    at = np.concatenate([a, b])
    below_a, below_b = (np.searchsorted(side, at, "right") / len(side) for side in (a, b))
    return float(np.abs(below_a - below_b).max())

"""Distances between whole distributions, and request by request."""

from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from gpu_timing_assets.compare.gate.align import Aligned, Series
from gpu_timing_assets.compare.judge.statistics import LATENCIES


def distribution_distances(aligned: Aligned) -> pd.DataFrame:
    """Kolmogorov–Smirnov and Wasserstein-1 distance of each simulation from the real runs, per
    latency.

    A distance is the mean over the real runs of that to each run; its `noise` is the largest
    between two real runs (empty of one). Kolmogorov–Smirnov is a share of 1, Wasserstein is in ms.
    """
    rows = []
    for metric in LATENCIES:
        real = [np.sort(series.latency_ms(metric.name)) for series in aligned.real]
        if not len(real[0]):
            continue
        among = [
            (_kolmogorov_smirnov(a, b), stats.wasserstein_distance(a, b))
            for a, b in combinations(real, 2)
        ]
        noise = np.max(among, axis=0) if among else (np.nan, np.nan)
        for series in aligned.simulated:
            simulated = np.sort(series.latency_ms(metric.name))
            ks = np.mean([_kolmogorov_smirnov(one, simulated) for one in real])
            wasserstein = np.mean([stats.wasserstein_distance(one, simulated) for one in real])
            rows.append((series.label, metric.name, ks, noise[0], wasserstein, noise[1]))
    return pd.DataFrame(
        rows,
        columns=[
            "simulation",
            "metric",
            "ks",
            "ks_noise",
            "wasserstein_ms",
            "wasserstein_noise_ms",
        ],
    )


def _kolmogorov_smirnov(a: np.ndarray, b: np.ndarray) -> float:
    """Largest distance between the two empirical distribution functions; both sorted."""
    at = np.concatenate([a, b])
    return float(
        np.abs(
            np.searchsorted(a, at, "right") / len(a) - np.searchsorted(b, at, "right") / len(b)
        ).max()
    )


def real_per_request(aligned: Aligned, metric: str) -> np.ndarray:
    """The mean over the real runs of each request's `TTFT`, `TPOT` or `E2E`, in ms; shape
    (requests,).
    """
    return np.mean([per_request(series, metric) for series in aligned.real], axis=0)


def per_request(series: Series, metric: str) -> np.ndarray:
    """One value a request, in ms; NaN where it is not defined."""
    return {"TTFT": series.ttft_ms, "TPOT": series.tpot_ms, "E2E": series.e2e_ms}[metric]


def request_pairs(aligned: Aligned) -> pd.DataFrame:
    """The same request, real (mean over the runs) and simulated: signed bias, MAPE, Pearson r, per
    latency of a request.

    `bias_ms` is the mean of simulated − real, `bias_pct` the mean of its percentage; `mape_pct` the
    mean of the absolute percentage; `mape_noise_pct` the same between two real runs (the largest).
    r is empty where a side does not vary.
    """
    rows = []
    for metric in ("TTFT", "TPOT", "E2E"):
        real = real_per_request(aligned, metric)
        usable = ~np.isnan(real) & (real > 0)
        if not usable.any():
            continue
        among = [
            _mape(per_request(a, metric)[usable], per_request(b, metric)[usable])
            for a, b in combinations(aligned.real, 2)
        ]
        for series in aligned.simulated:
            one, two = real[usable], per_request(series, metric)[usable]
            varies = len(one) > 2 and np.ptp(one) > 0 and np.ptp(two) > 0
            rows.append(
                (
                    series.label,
                    metric,
                    int(usable.sum()),
                    float((two - one).mean()),
                    float((100 * (two - one) / one).mean()),
                    _mape(one, two),
                    max(among) if among else np.nan,
                    float(np.corrcoef(one, two)[0, 1]) if varies else np.nan,
                )
            )
    return pd.DataFrame(
        rows,
        columns=[
            "simulation",
            "metric",
            "requests",
            "bias_ms",
            "bias_pct",
            "mape_pct",
            "mape_noise_pct",
            "pearson_r",
        ],
    )


def _mape(real: np.ndarray, simulated: np.ndarray) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.abs(simulated - real) / real
    return (
        float(100 * shares[np.isfinite(shares)].mean())
        if np.isfinite(shares).any()
        else float("nan")
    )


def request_table(aligned: Aligned) -> pd.DataFrame:
    """One row for each compared request and simulation: what the request was, and its latencies
    (ms), real (mean over the runs) and simulated.
    """
    grid = aligned.grid
    parts = []
    for series in aligned.simulated:
        part = pd.DataFrame(
            {
                "simulation": series.label,
                "request_id": grid.request_id,
                "arrival_ms": grid.arrival_ns / 1e6,
                "num_prefill_tokens": grid.prefill_tokens,
                "num_decode_tokens": grid.tokens,
            }
        )
        for metric in ("TTFT", "TPOT", "E2E"):
            part[f"real_{metric.lower()}_ms"] = real_per_request(aligned, metric)
            part[f"simulated_{metric.lower()}_ms"] = per_request(series, metric)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)

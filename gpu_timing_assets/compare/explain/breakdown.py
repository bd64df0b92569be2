"""Where in the workload the error lies: by phase, by load, by prompt and output length, and over
the run's time.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from gpu_timing_assets.compare.explain.distances import per_request, real_per_request
from gpu_timing_assets.compare.gate.align import Aligned, Grid, Series
from gpu_timing_assets.compare.judge.statistics import error_pct, noise_pct

GROUPS = 5
TIME_WINDOWS = 10
LOAD, PROMPT, OUTPUT, TIME = (
    "requests running at arrival",
    "prompt tokens",
    "output tokens",
    "arrival (s)",
)


def phase_errors(aligned: Aligned) -> pd.DataFrame:
    """Mean E2E of a request, split at its first token: prefill (queueing too) and decode.

    `contribution_pct` is the phase's error in percent of the real E2E, so that the two add up to
    the error of E2E: errors that cancel in the total show here.
    """
    rows = []
    real = {
        phase: [_phase(series, phase) for series in aligned.real]
        for phase in ("prefill", "decode", "total")
    }
    total = float(np.mean(real["total"]))
    for series in aligned.simulated:
        for phase, values in real.items():
            mean, simulated = float(np.mean(values)), _phase(series, phase)
            rows.append(
                (
                    series.label,
                    phase,
                    mean,
                    simulated,
                    simulated - mean,
                    error_pct(simulated, mean),
                    error_pct(total + simulated - mean, total),
                    noise_pct(values),
                )
            )
    return pd.DataFrame(
        rows,
        columns=[
            "simulation",
            "phase",
            "real_ms",
            "simulated_ms",
            "error_ms",
            "error_pct",
            "contribution_pct",
            "noise_pct",
        ],
    )


def _phase(series: Series, phase: str) -> float:
    prefill, total = float(series.ttft_ms.mean()), float(series.e2e_ms.mean())
    return {"prefill": prefill, "decode": total - prefill, "total": total}[phase]


def grouped_errors(aligned: Aligned) -> pd.DataFrame:
    """Mean TTFT, TPOT and E2E of groups of requests: fifths by load, prompt and output length;
    tenths of the time.
    """
    rows = []
    for name, values, group in _groupings(aligned):
        for number in np.unique(group):
            inside = group == number
            low, high = values[inside].min(), values[inside].max()
            for metric in ("TTFT", "TPOT", "E2E"):
                usable = inside & ~np.isnan(real_per_request(aligned, metric))
                if not usable.any():
                    continue
                each = [
                    float(per_request(series, metric)[usable].mean()) for series in aligned.real
                ]
                real = float(np.mean(each))
                for series in aligned.simulated:
                    simulated = float(per_request(series, metric)[usable].mean())
                    rows.append(
                        (
                            series.label,
                            name,
                            int(number),
                            low,
                            high,
                            int(usable.sum()),
                            metric,
                            real,
                            simulated,
                            error_pct(simulated, real),
                            noise_pct(each),
                        )
                    )
    return pd.DataFrame(
        rows,
        columns=[
            "simulation",
            "grouped_by",
            "group",
            "low",
            "high",
            "requests",
            "metric",
            "real_ms",
            "simulated_ms",
            "error_pct",
            "noise_pct",
        ],
    )


def running_at_arrival(series: Series) -> np.ndarray:
    """How many requests had arrived and not finished when each request arrived; shape
    (requests,).
    """
    grid = series.grid
    arrived = np.searchsorted(np.sort(grid.arrival_ns), grid.arrival_ns, side="left")
    finished = np.searchsorted(np.sort(series.last_ns), grid.arrival_ns, side="right")
    return np.maximum(arrived - finished, 0)


def _groupings(aligned: Aligned) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    grid: Grid = aligned.grid
    load = np.mean([running_at_arrival(series) for series in aligned.real], axis=0)
    for name, values in ((LOAD, load), (PROMPT, grid.prefill_tokens), (OUTPUT, grid.tokens)):
        edges = np.unique(np.quantile(values, np.linspace(0, 1, GROUPS + 1)[1:-1]))
        yield name, values, np.searchsorted(edges, values, side="left")
    seconds = (grid.arrival_ns - grid.arrival_ns.min()) / 1e9
    width = max(float(seconds.max()), 1e-9) / TIME_WINDOWS
    yield TIME, seconds, np.minimum((seconds / width).astype(int), TIME_WINDOWS - 1)

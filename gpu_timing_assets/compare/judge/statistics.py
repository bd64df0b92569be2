"""The figures of a run: what each metric and statistic is, and its value on aligned series."""

from dataclasses import dataclass

import numpy as np

from gpu_timing_assets.compare.gate.align import Series

QUANTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
STATISTICS = ("mean", *QUANTILES)


@dataclass(frozen=True)
class Metric:
    """`statistics` are the rows that the verdict shows for it."""

    name: str
    unit: str
    definition: str
    statistics: tuple[str, ...] = STATISTICS


LATENCIES = (
    Metric("TTFT", "ms", "planned arrival of a request → its first token at the client"),
    Metric(
        "ITL",
        "ms",
        "time between consecutive tokens of one request, pooled over all tokens but each "
        "request's first",
    ),
    Metric(
        "TPOT",
        "ms",
        "(last token − first token) / (tokens − 1) of a request; a request of one token has none",
    ),
    Metric("E2E", "ms", "planned arrival of a request → its last token at the client"),
)
THROUGHPUT = Metric(
    "throughput", "tokens/s", "output tokens / (last token − first planned arrival)", ("rate",)
)
GOODPUT = Metric(
    "goodput",
    "requests/s",
    "requests within both objectives (TTFT and TPOT) / (last token − first planned "
    "arrival); a request of one token is judged on its TTFT",
    ("rate",),
)
METRICS = (*LATENCIES, THROUGHPUT, GOODPUT)


@dataclass(frozen=True)
class Objective:
    """What a request must keep to count as good."""

    ttft_ms: float
    tpot_ms: float

    def met(self, series: Series) -> np.ndarray:
        """Which requests keep both; shape (requests,)."""
        return (series.ttft_ms <= self.ttft_ms) & ~(series.tpot_ms > self.tpot_ms)


def statistic(values: np.ndarray, name: str) -> float:
    """`mean`, or a percentile by linear interpolation between order statistics; NaN of nothing."""
    if not len(values):
        return float("nan")
    return float(values.mean() if name == "mean" else np.quantile(values, QUANTILES[name]))


def run_statistics(series: Series, objective: Objective) -> dict[tuple[str, str], float]:
    """Every `(metric, statistic)` of one run, in the metric's unit."""
    figures: dict[tuple[str, str], float] = {}
    for metric in LATENCIES:
        values = series.latency_ms(metric.name)
        figures[metric.name, "mean"] = statistic(values, "mean")
        quantiles = (
            np.quantile(values, list(QUANTILES.values()))
            if len(values)
            else [float("nan")] * len(QUANTILES)
        )
        figures.update(
            {
                (metric.name, name): float(value)
                for name, value in zip(QUANTILES, quantiles, strict=True)
            }
        )
    figures["throughput", "rate"] = len(series.token_time_ns) / series.duration_s
    figures["goodput", "rate"] = float(objective.met(series).sum()) / series.duration_s
    return figures


def error_pct(simulated: float, real: float) -> float | None:
    """100 · (simulated − real) / real; `None` where that is not defined."""
    if not np.isfinite(real) or not np.isfinite(simulated) or real == 0:
        return None
    return 100.0 * (simulated - real) / real


def noise_pct(real: list[float]) -> float | None:
    """How far two real runs lie apart: the largest difference of any two, in percent of their mean.
    `None` of one run.
    """
    if len(real) < 2 or not np.isfinite(real).all() or not np.mean(real):
        return None
    return float(100.0 * (max(real) - min(real)) / abs(np.mean(real)))

"""The latencies of one run at a glance, from the columns of its own tables."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gpu_timing_assets.metrics.percentiles import statistics_of

if TYPE_CHECKING:
    import pandas as pd

AT_A_GLANCE = ("p50", "p90", "p99")


def latencies_ms(
    requests: "pd.DataFrame", tokens: "pd.DataFrame | None", names: Sequence[str] = AT_A_GLANCE
) -> dict[str, dict[str, float]]:
    """`TTFT`, `ITL` and `E2E` → each statistic in ms, of the requests that were served; NaN of
    nothing. Without `tokens` there is no ITL.
    """
    served = requests[requests["status"] == "ok"]
    times_ns = {
        "TTFT": served["ttft_ns"],
        **({} if tokens is None else {"ITL": tokens["token_latency_ns"]}),
        "E2E": served["completion_time_ns"] - served["arrival_time_ns"],
    }
    return {name: percentiles_ms(values, names) for name, values in times_ns.items()}


def percentiles_ms(times_ns: "pd.Series", names: Sequence[str] = AT_A_GLANCE) -> dict[str, float]:
    return statistics_of(times_ns.dropna().to_numpy(dtype="float64") / 1e6, names)

"""Time to first token."""

from gpu_timing_assets.metrics.metric import PerRequest
from gpu_timing_assets.metrics.served import FloatArray, ServedRun


def ttft_ms(run: ServedRun) -> FloatArray:
    return (run.first_ns - run.grid.arrival_ns) / 1e6


METRIC = PerRequest(
    name="TTFT",
    unit="ms",
    definition="planned arrival of a request → its first token at the client",
    order=10,
    compute=ttft_ms,
)

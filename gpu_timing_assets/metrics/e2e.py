"""End-to-end latency."""

from gpu_timing_assets.metrics.metric import PerRequest
from gpu_timing_assets.metrics.served import FloatArray, ServedRun


def e2e_ms(run: ServedRun) -> FloatArray:
    return (run.last_ns - run.grid.arrival_ns) / 1e6


METRIC = PerRequest(
    name="E2E",
    unit="ms",
    definition="planned arrival of a request → its last token at the client",
    order=40,
    compute=e2e_ms,
)

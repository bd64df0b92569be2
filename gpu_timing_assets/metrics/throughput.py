"""Output tokens a second: of a run as a whole, whose requests cannot be drawn."""

from gpu_timing_assets.metrics.metric import Objective, PerRun
from gpu_timing_assets.metrics.served import ServedRun


def tokens_per_s(run: ServedRun, objective: Objective) -> float:
    return len(run.token_time_ns) / run.duration_s


METRIC = PerRun(
    name="throughput",
    unit="tokens/s",
    definition="output tokens / (last token − first planned arrival)",
    order=50,
    lower_is_better=False,
    compute=tokens_per_s,
)

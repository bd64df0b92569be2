"""All metrics: the modules of this package, and what other packages register."""

from collections.abc import Iterable

from gpu_timing_assets.config.plugins import Plugins
from gpu_timing_assets.metrics.metric import Distribution, Metric, PerRequest

ROOM = "gpu_timing_assets.metrics"
METRICS: Plugins[Metric] = Plugins(
    "metric", ROOM, lambda metric: metric.name, room=ROOM, attribute="METRIC"
)


def all_metrics() -> tuple[Metric, ...]:
    """In the order in which a report shows them."""
    return tuple(sorted(METRICS.all().values(), key=lambda metric: (metric.order, metric.name)))


def latencies(metrics: Iterable[Metric]) -> list[Distribution]:
    """Those with a distribution in ms, of requests or of tokens."""
    return [one for one in metrics if isinstance(one, Distribution) and one.unit == "ms"]


def request_latencies(metrics: Iterable[Metric]) -> list[PerRequest]:
    return [one for one in latencies(metrics) if isinstance(one, PerRequest)]

"""A Poisson process."""

from typing import Literal

from gpu_timing_assets.config.workload import Rate
from gpu_timing_assets.workload.arrivals.point_process import PointProcess
from gpu_timing_assets.workload.requests import Integers


class PoissonArrivals(PointProcess):
    """Independent exponential intervals: a Poisson process."""

    kind: Literal["poisson"]

    rate_per_s: Rate
    """Mean rate in requests per second."""

    def draw(self, seed: int, count: int) -> Integers:
        from gpu_timing_assets.workload.unit_rate import to_ns, unit_rate_arrivals

        return to_ns(unit_rate_arrivals(seed, count) / self.rate_per_s)


PLUGIN = PoissonArrivals

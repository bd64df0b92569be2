"""Requests at equal intervals."""

from typing import Literal

from gpu_timing_assets.config.workload import Rate
from gpu_timing_assets.workload.arrivals.point_process import PointProcess
from gpu_timing_assets.workload.requests import Integers


class ConstantArrivals(PointProcess):
    """Equal intervals, the first request at the start."""

    kind: Literal["constant"]

    rate_per_s: Rate
    """Rate in requests per second: the inverse of the interval."""

    def draw(self, seed: int, count: int) -> Integers:
        import numpy as np

        from gpu_timing_assets.workload.unit_rate import to_ns

        return to_ns(np.arange(count, dtype=np.float64) / self.rate_per_s)


PLUGIN = ConstantArrivals

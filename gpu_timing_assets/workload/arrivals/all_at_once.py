"""Every request at the start."""

from typing import ClassVar, Literal

from gpu_timing_assets.workload.arrivals.point_process import PointProcess
from gpu_timing_assets.workload.requests import Integers


class AllAtOnceArrivals(PointProcess):
    """All requests at the start: a batch, served as fast as the engine can."""

    has_duration: ClassVar[bool] = False

    kind: Literal["all_at_once"]

    def draw(self, seed: int, count: int) -> Integers:
        import numpy as np

        return np.zeros(count, dtype=np.int64)


PLUGIN = AllAtOnceArrivals

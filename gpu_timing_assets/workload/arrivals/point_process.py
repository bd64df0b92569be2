"""Arrivals that are drawn from their parameters alone."""

from abc import abstractmethod

from gpu_timing_assets.config.workload import MAX_REQUESTS, ArrivalProcess
from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.workload.draw_context import DrawContext
from gpu_timing_assets.workload.requests import Arrivals, Integers
from gpu_timing_assets.workload.times import NS_PER_S


class PointProcess(ArrivalProcess):
    """An endless process of which the first arrivals are drawn."""

    @abstractmethod
    def draw(self, seed: int, count: int) -> Integers:
        """The first `count` arrival times in ns since the workload's start, shape (count,), never
        decreasing; more arrivals of the same seed begin with the same ones.

        Raises `WorkloadError` if they do not fit into 64 bits.
        """

    def count_within(self, context: DrawContext, duration_s: float | None) -> int | None:
        """Raises `WorkloadError` if it is more than a workload may have."""
        if duration_s is None:
            return None
        drawn = 1024
        while True:
            times = self.draw(context.preset.seed, drawn)
            if times[-1] > duration_s * NS_PER_S:
                return int(times.searchsorted(round(duration_s * NS_PER_S), side="right"))
            if drawn >= MAX_REQUESTS:
                raise WorkloadError(
                    f"arrivals: more than {MAX_REQUESTS:,} in duration_s={duration_s}: shorten it"
                )
            drawn = min(4 * drawn, MAX_REQUESTS)

    def arrivals(self, context: DrawContext, count: int) -> Arrivals:
        return Arrivals(self.draw(context.preset.seed, count))

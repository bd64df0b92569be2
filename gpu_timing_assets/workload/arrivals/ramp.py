"""A Poisson process whose rate rises or falls."""

from typing import Literal

from gpu_timing_assets.config.workload import Rate, RateOrNone, Seconds
from gpu_timing_assets.workload.arrivals.point_process import PointProcess
from gpu_timing_assets.workload.requests import Integers


class RampArrivals(PointProcess):
    """A Poisson process whose rate goes linearly from one value to another, and stays there."""

    kind: Literal["ramp"]

    from_rate_per_s: RateOrNone
    """Mean rate at the start, in requests per second."""

    to_rate_per_s: Rate
    """Mean rate at the end of the ramp and after it, in requests per second."""

    ramp_s: Seconds
    """Length of the ramp in seconds."""

    def draw(self, seed: int, count: int) -> Integers:
        """Rate a + (b − a)·t/D until D, then b: the integral a·t + (b − a)·t²/2D solved for t."""
        import numpy as np

        from gpu_timing_assets.workload.unit_rate import to_ns, unit_rate_arrivals

        a, b, duration = self.from_rate_per_s, self.to_rate_per_s, self.ramp_s
        mass = unit_rate_arrivals(seed, count)
        total = 0.5 * (a + b) * duration
        inside = np.minimum(mass, total)
        root = np.sqrt(np.maximum(a * a + 2.0 * (b - a) / duration * inside, 0.0))
        # a + root is 0 only for a = 0 at mass 0, which a stream never draws
        during = 2.0 * inside / (a + root)
        return to_ns(np.where(mass <= total, during, duration + (mass - total) / b))


PLUGIN = RampArrivals

"""A Poisson process that switches between two rates: bursts and pauses."""

from typing import Literal

from gpu_timing_assets.config.workload import Rate, RateOrNone, Seconds
from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.workload.arrivals.point_process import PointProcess
from gpu_timing_assets.workload.random_streams import RandomStream
from gpu_timing_assets.workload.requests import Floats, Integers

MAX_BURSTS = 5e6
# cycles at a time: part of the definition of the stream
_CYCLES = 1024


class OnOffArrivals(PointProcess):
    """A Poisson process that switches between two rates, beginning with the first: bursts."""

    kind: Literal["on_off"]

    on_rate_per_s: Rate
    """Mean rate within a burst, in requests per second."""

    off_rate_per_s: RateOrNone = 0
    """Mean rate between bursts, in requests per second."""

    on_s: Seconds
    """Length of a burst in seconds."""

    off_s: Seconds
    """Length of the pause after a burst in seconds."""

    random_phases: bool = False
    """Draw the length of each burst and pause from an exponential distribution with that mean,
    rather than have all alike."""

    def draw(self, seed: int, count: int) -> Integers:
        import numpy as np

        from gpu_timing_assets.workload.exact_math import log
        from gpu_timing_assets.workload.unit_rate import piecewise, unit_rate_arrivals

        mass = unit_rate_arrivals(seed, count)
        phases = RandomStream(seed, "arrival_phases")
        mass_per_cycle = self.on_s * self.on_rate_per_s + self.off_s * self.off_rate_per_s
        last_mass = float(mass[-1]) if count else 0.0
        if last_mass / mass_per_cycle > MAX_BURSTS:
            raise WorkloadError(
                "arrivals: more than five million bursts: use longer ones, or fewer requests"
            )
        cycle_s, rates = [self.on_s, self.off_s], [self.on_rate_per_s, self.off_rate_per_s]
        chunks: list[Floats] = []
        drawn = 0.0
        while drawn <= last_mass:
            chunk = np.tile(cycle_s, _CYCLES)
            if self.random_phases:
                chunk = chunk * -log(phases.uniform(len(chunk)))
            chunks.append(chunk)
            drawn += float(np.cumsum(chunk * np.tile(rates, _CYCLES))[-1])
        durations_s = np.concatenate(chunks)
        return piecewise(mass, durations_s, np.tile(rates, len(durations_s) // 2))


PLUGIN = OnOffArrivals

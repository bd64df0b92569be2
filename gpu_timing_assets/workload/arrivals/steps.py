"""A Poisson process whose rate changes in steps."""

from typing import Literal, Self

from pydantic import Field, model_validator

from gpu_timing_assets.config.base import Preset
from gpu_timing_assets.config.workload import RateOrNone, Seconds
from gpu_timing_assets.workload.arrivals.point_process import PointProcess
from gpu_timing_assets.workload.requests import Integers


class RateStep(Preset):
    """A rate and how long it lasts."""

    rate_per_s: RateOrNone
    """Mean rate in requests per second; 0: none arrive."""

    duration_s: Seconds
    """Length of the step in seconds."""


class StepArrivals(PointProcess):
    """A Poisson process whose rate changes in steps; the last one's, which may not be 0, stays."""

    kind: Literal["steps"]

    steps: tuple[RateStep, ...] = Field(min_length=1)
    """Steps of the rate, one after the other."""

    @model_validator(mode="after")
    def _last_rate_is_positive(self) -> Self:
        if self.steps[-1].rate_per_s == 0:
            raise ValueError("the last step's rate_per_s must be above 0, because it stays")
        return self

    def draw(self, seed: int, count: int) -> Integers:
        import numpy as np

        from gpu_timing_assets.workload.unit_rate import piecewise, unit_rate_arrivals

        durations_s = np.array([step.duration_s for step in self.steps])
        rates_per_s = np.array([step.rate_per_s for step in self.steps])
        return piecewise(unit_rate_arrivals(seed, count), durations_s, rates_per_s)


PLUGIN = StepArrivals

"""Gamma intervals: burstier or more regular than a Poisson process."""

from typing import Literal

from pydantic import Field

from gpu_timing_assets.config.workload import Rate
from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.workload.arrivals.point_process import PointProcess
from gpu_timing_assets.workload.random_streams import RandomStream
from gpu_timing_assets.workload.requests import Floats, Integers
from gpu_timing_assets.workload.times import LAST_TIME_NS, NS_PER_S

# attempts at a time: part of the definition of the stream, for all n arrivals to be the first of
# n + 1
_ATTEMPTS = 4096


class GammaArrivals(PointProcess):
    """Independent gamma intervals: bursty or regular arrivals."""

    kind: Literal["gamma"]

    rate_per_s: Rate
    """Mean rate in requests per second."""

    cv: float = Field(ge=0.01, le=20)
    """Coefficient of variation of the intervals: 1 is a Poisson process, above it arrivals come in
    bursts, below it they are more regular."""

    def draw(self, seed: int, count: int) -> Integers:
        """Intervals of mean 1/rate and coefficient of variation cv: shape 1/cv², scale cv²/rate."""
        import numpy as np

        shape = 1.0 / (self.cv * self.cv)
        scale_ns = NS_PER_S / (self.rate_per_s * shape)
        variates = _gamma_variates(RandomStream(seed, "arrivals"), shape, count)
        intervals = np.rint(np.minimum(variates * scale_ns, LAST_TIME_NS)).astype(np.int64)
        if intervals.astype(np.float64).max(initial=0.0) * count >= LAST_TIME_NS:
            raise WorkloadError(
                "arrivals: the last one is more than a century after the first: raise the rate"
            )
        return np.cumsum(intervals)


def _gamma_variates(stream: RandomStream, shape: float, count: int) -> Floats:
    """Marsaglia and Tsang, "A simple method for generating gamma variables", ACM TOMS 26 (2000).

    For a shape below 1 theirs is drawn for shape + 1 and multiplied by u^(1/shape).
    """
    import numpy as np

    from gpu_timing_assets.workload.exact_math import exp, log, normal_quantile

    boosted = shape + 1.0 if shape < 1.0 else shape
    d = boosted - 1.0 / 3.0
    c = 1.0 / np.sqrt(9.0 * d)
    accepted: list[Floats] = []
    missing = count
    while missing > 0:
        uniforms = stream.uniform(3 * _ATTEMPTS).reshape(3, _ATTEMPTS)
        normal = normal_quantile(uniforms[0])
        base = 1.0 + c * normal
        cube = np.where(base > 0.0, base * base * base, 1.0)
        keep = (base > 0.0) & (
            log(uniforms[1]) < 0.5 * normal * normal + d - d * cube + d * log(cube)
        )
        variates = d * cube[keep]
        if shape < 1.0:
            variates = variates * exp(np.maximum(log(uniforms[2][keep]) / shape, -690.0))
        accepted.append(variates)
        missing -= len(variates)
    return np.concatenate(accepted)[:count] if accepted else np.zeros(0)


PLUGIN = GammaArrivals

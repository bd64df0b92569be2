"""Poisson processes whose rate varies, from one of rate 1 whose time is stretched.

Arrival i is where the integral of the rate reaches the i-th unit-rate arrival, its mass.
"""

import numpy as np

from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.workload.exact_math import Floats, log
from gpu_timing_assets.workload.random_streams import RandomStream
from gpu_timing_assets.workload.requests import Integers
from gpu_timing_assets.workload.times import LAST_TIME_NS, NS_PER_S

# unit-rate arrivals are summed as whole multiples of this, because a sum of floats depends on its
# order
_UNIT = 2.0**-32


def unit_rate_arrivals(seed: int, count: int) -> Floats:
    """A Poisson process of rate 1, shape (count,): running sums of −ln u."""
    uniforms = RandomStream(seed, "arrivals").uniform(count)
    units = np.rint(-log(uniforms) / _UNIT).astype(np.int64)
    return np.cumsum(units).astype(np.float64) * _UNIT


def piecewise(mass: Floats, durations_s: Floats, rates_per_s: Floats) -> Integers:
    """When, in ns, a rate constant on each piece has integrated to `mass`; the last rate stays."""
    masses = np.concatenate([[0.0], np.cumsum(durations_s * rates_per_s)])
    begins = np.concatenate([[0.0], np.cumsum(durations_s)])
    # the piece that ends at or after the mass: one with rate 0 gains no mass, and is never the
    # first such
    piece = np.minimum(np.searchsorted(masses[1:], mass, side="left"), len(rates_per_s) - 1)
    return to_ns(begins[piece] + (mass - masses[piece]) / rates_per_s[piece])


def to_ns(seconds: Floats) -> Integers:
    """Raises `WorkloadError` if the last of them does not fit into 64 bits."""
    if len(seconds) and not float(seconds.max()) * NS_PER_S < LAST_TIME_NS:
        raise WorkloadError(
            "arrivals: the last one is more than a century after the start: raise the rate"
        )
    return np.rint(seconds * NS_PER_S).astype(np.int64)

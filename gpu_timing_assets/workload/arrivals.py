"""When the requests arrive: an arrival process and its streams give integer nanoseconds that never
decrease.

Every process but the closed loop is a point process of which the first `count` arrivals are drawn;
more arrivals of the same seed begin with the same ones. A rate that varies is a Poisson process of
rate 1 whose time is stretched: arrival i is where the integral of the rate reaches the i-th
unit-rate arrival.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.workload.exact_math import Floats, exp, log, normal_quantile
from gpu_timing_assets.workload.random_streams import RandomStream

if TYPE_CHECKING:
    from gpu_timing_assets.config.workload import (
        ArrivalProcess,
        ClosedLoopArrivals,
        GammaArrivals,
        OnOffArrivals,
        RampArrivals,
        StepArrivals,
    )

Times = NDArray[np.int64]

NS_PER_S = 1_000_000_000
LAST_TIME_NS = 2**62
# unit-rate arrivals are summed as whole multiples of this, because a sum of floats depends on its
# order
_UNIT = 2.0**-32
# attempts a round: part of the definition of a gamma stream, for all n arrivals to be the first of
# n + 1
_GAMMA_ROUND = 4096


def draw_arrivals(process: "ArrivalProcess", seed: int, count: int) -> Times:
    """The first `count` arrival times in ns since the workload's start, shape (count,), never
    decreasing.

    Raises `WorkloadError` if they do not fit into 64 bits. For closed loops see `draw_closed_loop`;
    times from a trace are read, not drawn.
    """
    stream = RandomStream(seed, "arrivals")
    if process.kind == "all_at_once":
        return np.zeros(count, dtype=np.int64)
    if process.kind == "constant":
        return _to_ns(np.arange(count, dtype=np.float64) / process.rate_per_s)
    if process.kind == "poisson":
        return _to_ns(_unit_rate_arrivals(stream, count) / process.rate_per_s)
    if process.kind == "gamma":
        return _gamma(process, stream, count)
    if process.kind == "ramp":
        return _ramp(process, stream, count)
    if process.kind == "steps":
        return _steps(process, stream, count)
    if process.kind == "on_off":
        return _on_off(process, stream, RandomStream(seed, "arrival_phases"), count)
    raise ValueError(f"arrivals of kind {process.kind!r} are not drawn")


@dataclass(frozen=True)
class ClosedLoop:
    """Who sends which request, and how long they think before it; in the order of `earliest_ns`.

    `user_id`, `think_time_ns`, `earliest_ns`: shape (requests,). A user's next request is sent
    `think_time_ns` after the last one's completion, the first `think_time_ns` after the start.
    `earliest_ns` is when that would be if every request took no time.
    """

    user_id: NDArray[np.int64]
    think_time_ns: Times
    earliest_ns: Times


def draw_closed_loop(process: "ClosedLoopArrivals", seed: int, count: int) -> ClosedLoop:
    """`count` requests, dealt to the users in turn: user u sends requests u, u + users, u + 2·users
    …
    """
    unit = (
        -log(RandomStream(seed, "think_times").uniform(count))
        if process.think_time == "exponential"
        else np.ones(count)
    )
    think = _to_ns(unit * process.think_time_s)
    user = np.arange(count, dtype=np.int64) % process.users
    rounds = -(-count // process.users)
    table = np.zeros(rounds * process.users, dtype=np.int64)
    table[:count] = think
    earliest = np.cumsum(table.reshape(rounds, process.users), axis=0).reshape(-1)[:count]
    order = np.argsort(earliest, kind="stable")
    return ClosedLoop(user[order], think[order], earliest[order])


def _unit_rate_arrivals(stream: RandomStream, count: int) -> Floats:
    """A Poisson process of rate 1: running sums of −ln u."""
    units = np.rint(-log(stream.uniform(count)) / _UNIT).astype(np.int64)
    return np.cumsum(units).astype(np.float64) * _UNIT


def _gamma(process: "GammaArrivals", stream: RandomStream, count: int) -> Times:
    """Intervals with mean 1/rate and coefficient of variation cv: shape 1/cv², scale cv²/rate."""
    shape = 1.0 / (process.cv * process.cv)
    scale_ns = NS_PER_S / (process.rate_per_s * shape)
    intervals = np.rint(
        np.minimum(_gamma_variates(stream, shape, count) * scale_ns, LAST_TIME_NS)
    ).astype(np.int64)
    if intervals.astype(np.float64).max(initial=0.0) * count >= LAST_TIME_NS:
        raise WorkloadError(
            "arrivals: the last one is more than a century after the first: raise the rate"
        )
    return np.cumsum(intervals)


def _gamma_variates(stream: RandomStream, shape: float, count: int) -> Floats:
    """Marsaglia and Tsang, "A simple method for generating gamma variables", ACM TOMS 26 (2000).

    For a shape below 1 theirs is drawn for shape + 1 and multiplied by u^(1/shape).
    """
    boosted = shape + 1.0 if shape < 1.0 else shape
    d = boosted - 1.0 / 3.0
    c = 1.0 / np.sqrt(9.0 * d)
    accepted: list[Floats] = []
    missing = count
    while missing > 0:
        uniforms = stream.uniform(3 * _GAMMA_ROUND).reshape(3, _GAMMA_ROUND)
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


def _ramp(process: "RampArrivals", stream: RandomStream, count: int) -> Times:
    """Rate a + (b − a)·t/D until D, then b: the integral a·t + (b − a)·t²/2D is solved for t."""
    a, b, duration = process.from_rate_per_s, process.to_rate_per_s, process.ramp_s
    mass = _unit_rate_arrivals(stream, count)
    total = 0.5 * (a + b) * duration
    inside = np.minimum(mass, total)
    root = np.sqrt(np.maximum(a * a + 2.0 * (b - a) / duration * inside, 0.0))
    # a + root is 0 only for a = 0 at mass 0, which a stream never draws
    during = 2.0 * inside / (a + root)
    return _to_ns(np.where(mass <= total, during, duration + (mass - total) / b))


def _steps(process: "StepArrivals", stream: RandomStream, count: int) -> Times:
    durations = np.array([step.duration_s for step in process.steps])
    rates = np.array([step.rate_per_s for step in process.steps])
    return _piecewise(_unit_rate_arrivals(stream, count), durations, rates)


def _on_off(
    process: "OnOffArrivals", stream: RandomStream, phases: RandomStream, count: int
) -> Times:
    """Bursts of `on_rate_per_s` for `on_s`, then `off_rate_per_s` for `off_s`, again and again,
    beginning with a burst.
    """
    mass = _unit_rate_arrivals(stream, count)
    mass_per_cycle = process.on_s * process.on_rate_per_s + process.off_s * process.off_rate_per_s
    last_mass = float(mass[-1]) if count else 0.0
    if last_mass / mass_per_cycle > 5e6:
        raise WorkloadError(
            "arrivals: more than five million bursts: use longer ones, or fewer requests"
        )
    cycle, rates = [process.on_s, process.off_s], [process.on_rate_per_s, process.off_rate_per_s]
    chunks: list[Floats] = []
    drawn = 0.0
    while drawn <= last_mass:
        # phases come in rounds of 1,024 cycles: part of the definition of the stream
        chunk = np.tile(cycle, 1024)
        if process.random_phases:
            chunk = chunk * -log(phases.uniform(len(chunk)))
        chunks.append(chunk)
        drawn += float(np.cumsum(chunk * np.tile(rates, 1024))[-1])
    durations = np.concatenate(chunks)
    return _piecewise(mass, durations, np.tile(rates, len(durations) // 2))


def _piecewise(mass: Floats, durations: Floats, rates: Floats) -> Times:
    """When a rate that is constant on each piece has integrated to `mass`; after the last piece its
    rate stays.
    """
    masses = np.concatenate([[0.0], np.cumsum(durations * rates)])
    begins = np.concatenate([[0.0], np.cumsum(durations)])
    # the piece that ends at or after the mass: one with rate 0 gains no mass, and is never the
    # first such
    piece = np.minimum(np.searchsorted(masses[1:], mass, side="left"), len(rates) - 1)
    return _to_ns(begins[piece] + (mass - masses[piece]) / rates[piece])


def _to_ns(seconds: Floats) -> Times:
    if len(seconds) and not float(seconds.max()) * NS_PER_S < LAST_TIME_NS:
        raise WorkloadError(
            "arrivals: the last one is more than a century after the start: raise the rate"
        )
    return np.rint(seconds * NS_PER_S).astype(np.int64)

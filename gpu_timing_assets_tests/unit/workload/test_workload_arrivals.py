"""Arrival processes are what they say: their invariants for any parameters, their statistics for
fixed seeds.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from gpu_timing_assets.config.workload import AnyArrivals
from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.workload.requests import Arrivals

S = 1_000_000_000
PROCESS: TypeAdapter[Any] = TypeAdapter(AnyArrivals)


def seconds(
    count: int = 20_000, seed: int = 1, **process: Any
) -> "np.ndarray[Any, np.dtype[np.float64]]":
    return PROCESS.validate_python(process).draw(seed, count) / S


rates = st.floats(min_value=0.01, max_value=1e6)
durations = st.floats(min_value=0.01, max_value=1e4)
processes = st.one_of(
    st.fixed_dictionaries({"kind": st.just("poisson"), "rate_per_s": rates}),
    st.fixed_dictionaries(
        {
            "kind": st.just("gamma"),
            "rate_per_s": rates,
            "cv": st.floats(min_value=0.05, max_value=10),
        }
    ),
    st.fixed_dictionaries({"kind": st.just("constant"), "rate_per_s": rates}),
    st.just({"kind": "all_at_once"}),
    st.fixed_dictionaries(
        {
            "kind": st.just("ramp"),
            "from_rate_per_s": st.just(0) | rates,
            "to_rate_per_s": rates,
            "ramp_s": durations,
        }
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("steps"),
            "steps": st.tuples(
                st.fixed_dictionaries({"rate_per_s": st.just(0) | rates, "duration_s": durations}),
                st.fixed_dictionaries({"rate_per_s": rates, "duration_s": durations}),
            ),
        }
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("on_off"),
            "on_rate_per_s": st.floats(min_value=10, max_value=1e4),
            "off_rate_per_s": st.sampled_from([0, 1]),
            "on_s": st.floats(min_value=0.1, max_value=10),
            "off_s": st.floats(min_value=0.1, max_value=10),
            "random_phases": st.booleans(),
        }
    ),
)


@settings(max_examples=150, deadline=None)
@given(processes, st.integers(0, 2**63), st.integers(1, 300))
def test_any_process_gives_as_many_arrivals_as_asked_sorted_and_not_negative(
    process: dict[str, Any], seed: int, count: int
) -> None:
    times = PROCESS.validate_python(process).draw(seed, count)
    assert len(times) == count
    assert times.dtype == np.int64
    assert times[0] >= 0
    assert (np.diff(times) >= 0).all()


@settings(max_examples=60, deadline=None)
@given(processes, st.integers(1, 200), st.integers(1, 200))
def test_more_arrivals_of_a_seed_begin_with_the_same_ones(
    process: dict[str, Any], few: int, more: int
) -> None:
    parsed = PROCESS.validate_python(process)
    np.testing.assert_array_equal(parsed.draw(3, few + more)[:few], parsed.draw(3, few))


def test_poisson_intervals_are_exponential() -> None:
    intervals = np.diff(seconds(kind="poisson", rate_per_s=50))
    assert intervals.mean() == pytest.approx(1 / 50, rel=0.02)
    assert stats.kstest(intervals, stats.expon(scale=1 / 50).cdf).pvalue > 0.01


@pytest.mark.parametrize("cv", [0.25, 1.0, 2.0, 4.0])
def test_gamma_intervals_have_their_mean_their_coefficient_of_variation_and_their_shape(
    cv: float,
) -> None:
    intervals = np.diff(seconds(kind="gamma", rate_per_s=10, cv=cv))
    assert intervals.mean() == pytest.approx(0.1, rel=0.05 * max(cv, 1))
    assert intervals.std() / intervals.mean() == pytest.approx(cv, rel=0.05)
    # not a KS distance: at cv 4 a quarter of the intervals is below a nanosecond, and is rounded
    for probability in (0.4, 0.6, 0.8, 0.95, 0.99):
        quantile = stats.gamma(1 / cv**2, scale=0.1 * cv**2).ppf(probability)
        assert (intervals <= quantile).mean() == pytest.approx(probability, abs=0.012)


def test_constant_arrivals_are_evenly_spaced_from_the_start() -> None:
    np.testing.assert_array_equal(
        seconds(5, kind="constant", rate_per_s=4), [0, 0.25, 0.5, 0.75, 1]
    )


def test_all_at_once_is_at_the_start() -> None:
    assert not seconds(kind="all_at_once").any()


def test_a_ramp_rises_linearly_and_then_stays() -> None:
    times = seconds(30_000, kind="ramp", from_rate_per_s=0, to_rate_per_s=200, ramp_s=100)
    assert (times < 50).sum() == pytest.approx(2_500, rel=0.06)
    assert (times < 100).sum() == pytest.approx(10_000, rel=0.03)
    assert ((times >= 100) & (times < 150)).sum() == pytest.approx(10_000, rel=0.03)


def test_a_ramp_can_fall() -> None:
    times = seconds(20_000, kind="ramp", from_rate_per_s=200, to_rate_per_s=10, ramp_s=100)
    assert (times < 50).sum() == pytest.approx(7_625, rel=0.04)
    assert (times < 100).sum() == pytest.approx(10_500, rel=0.03)


def test_steps_have_their_rates_one_after_the_other() -> None:
    times = seconds(
        20_000,
        kind="steps",
        steps=[
            {"rate_per_s": 100, "duration_s": 50},
            {"rate_per_s": 0, "duration_s": 20},
            {"rate_per_s": 200, "duration_s": 1},
        ],
    )
    assert (times < 50).sum() == pytest.approx(5_000, rel=0.05)
    assert not ((times > 50) & (times < 70)).any()
    assert ((times > 70) & (times < 120)).sum() == pytest.approx(10_000, rel=0.03)


def test_bursts_are_on_and_off_in_turn() -> None:
    times = seconds(kind="on_off", on_rate_per_s=100, on_s=2, off_s=3)
    assert ((times % 5) <= 2).all()
    assert len(times) / np.ceil(times[-1] / 5) == pytest.approx(200, rel=0.03)


def test_random_bursts_have_the_mean_rate_and_are_burstier_than_poisson() -> None:
    times = seconds(
        40_000,
        kind="on_off",
        on_rate_per_s=90,
        off_rate_per_s=10,
        on_s=2,
        off_s=2,
        random_phases=True,
    )
    assert len(times) / times[-1] == pytest.approx(50, rel=0.1)
    counts = np.bincount(times.astype(int))
    assert counts.var() / counts.mean() > 5


def closed_loop(context_of: Callable[..., Any], count: int, **process: Any) -> Arrivals:
    context = context_of(arrivals={"kind": "closed_loop", **process})
    return context.preset.arrivals.arrivals(context, count)


def test_a_closed_loop_deals_requests_to_its_users_and_sums_each_ones_thinking(
    context_of: Callable[..., Any],
) -> None:
    arrivals = closed_loop(context_of, 3_000, users=3, think_time_s=2)
    earliest_ns, loop = arrivals.times_ns, arrivals.closed_loop
    assert loop is not None
    assert (np.diff(earliest_ns) >= 0).all()
    assert np.bincount(loop.user_id).tolist() == [1_000] * 3
    for user in range(3):
        own = loop.user_id == user
        np.testing.assert_array_equal(earliest_ns[own], np.cumsum(loop.think_time_ns[own]))
    assert loop.think_time_ns.mean() / S == pytest.approx(2, rel=0.06)


def test_a_closed_loop_can_think_for_a_fixed_time(context_of: Callable[..., Any]) -> None:
    loop = closed_loop(context_of, 5, users=2, think_time="fixed", think_time_s=1.5).closed_loop
    assert loop is not None
    assert set(loop.think_time_ns) == {1_500_000_000}


@pytest.mark.parametrize(
    "process",
    [
        {"kind": "poisson", "rate_per_s": 0},
        {"kind": "poisson", "rate_per_s": -1},
        {"kind": "gamma", "rate_per_s": 1, "cv": 0},
        {"kind": "steps", "steps": [{"rate_per_s": 0, "duration_s": 1}]},
        {"kind": "steps", "steps": []},
        {"kind": "closed_loop", "users": 0, "think_time_s": 1},
        {"kind": "on_off", "on_rate_per_s": 0, "on_s": 1, "off_s": 1},
        {"kind": "poisson", "rate_per_s": 1, "cv": 2},
        {"kind": "uniform"},
    ],
)
def test_a_process_without_arrivals_is_refused(process: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PROCESS.validate_python(process)


@pytest.mark.parametrize(
    "process",
    [{"kind": "poisson", "rate_per_s": 1e-9}, {"kind": "gamma", "rate_per_s": 1e-9, "cv": 1}],
)
def test_arrivals_that_do_not_fit_into_a_century_are_an_error(process: dict[str, Any]) -> None:
    with pytest.raises(WorkloadError, match="century"):
        PROCESS.validate_python(process).draw(1, 100)

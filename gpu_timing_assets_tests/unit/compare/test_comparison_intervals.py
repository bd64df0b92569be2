"""Bootstrap intervals: exact where they can be, close where values are binned, and as wide as they
claim.
"""

import numpy as np
import pytest

from gpu_timing_assets.compare.gate.align import Aligned, AlignedRun, align
from gpu_timing_assets.compare.judge.bootstrap import error_intervals, request_weights
from gpu_timing_assets.config.comparison import ComparisonPreset
from gpu_timing_assets.metrics import resampling
from gpu_timing_assets.metrics.metric import Objective
from gpu_timing_assets.metrics.registry import all_metrics
from gpu_timing_assets.metrics.resampling import weighted_statistics
from gpu_timing_assets.metrics.served import Grid
from gpu_timing_assets.metrics.throughput import tokens_per_s
from gpu_timing_assets_tests.unit.compare.synthetic_runs import run_in_memory, scaled, served

OBJECTIVE = Objective(ttft_ms=200, tpot_ms=50)
METRICS = all_metrics()
LEVELS = {"p50": 50, "p90": 90, "p95": 95, "p99": 99}


def brute_force(
    values: np.ndarray, owner: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    drawn = [np.repeat(values, row[owner]) for row in weights]
    return {
        "mean": np.array([row.mean() for row in drawn]),
        **{
            name: np.array([np.percentile(row, level) for row in drawn])
            for name, level in LEVELS.items()
        },
    }


def test_weighted_statistics_are_those_of_the_drawn_values() -> None:
    rng = np.random.default_rng(5)
    owner = np.repeat(np.arange(30), rng.integers(0, 12, 30))
    values = rng.integers(0, 40, len(owner)).astype(float)  # with ties
    weights = request_weights(30, 100, rng)
    expected = brute_force(values, owner, weights)
    for name, drawn in weighted_statistics(values, owner, weights).items():
        np.testing.assert_allclose(drawn, expected[name], rtol=1e-6)


def test_requests_are_taken_in_blocks_without_a_difference(monkeypatch) -> None:
    rng = np.random.default_rng(5)
    owner = np.repeat(np.arange(30), rng.integers(0, 12, 30))
    values, weights = rng.normal(size=len(owner)), request_weights(30, 50, rng)
    whole = weighted_statistics(values, owner, weights)
    monkeypatch.setattr(resampling, "REQUESTS_AT_ONCE", 7)
    for name, drawn in weighted_statistics(values, owner, weights).items():
        np.testing.assert_allclose(drawn, whole[name], rtol=1e-6)


def test_binned_values_stay_within_half_a_percent() -> None:
    rng = np.random.default_rng(6)
    owner = np.repeat(np.arange(200), 60)
    values = rng.lognormal(1, 0.5, len(owner))
    weights = request_weights(200, 60, rng)
    expected = brute_force(values, owner, weights)
    assert len(np.unique(values)) > resampling.MAX_BINS
    for name, drawn in weighted_statistics(values, owner, weights).items():
        np.testing.assert_allclose(drawn, expected[name], rtol=5e-3)


def intervals_of(
    aligned: Aligned, *, seed: int = 0, resamples: int = 100, confidence_pct: float = 95
):
    preset = ComparisonPreset(
        bootstrap_resamples=resamples, bootstrap_seed=seed, confidence_pct=confidence_pct
    )
    return error_intervals(aligned, METRICS, OBJECTIVE, preset)


def test_every_request_is_drawn_as_often_as_any_other() -> None:
    weights = request_weights(50, 4000, np.random.default_rng(0))
    assert (weights.sum(axis=1) == 50).all()
    assert abs(weights.mean(axis=0) - 1).max() < 0.1


def test_the_same_seed_gives_the_same_interval_and_another_does_not() -> None:
    arrivals, times = served()
    _, other = served(jitter_seed=1)
    aligned = align(
        [run_in_memory("real", arrivals, times)],
        [run_in_memory("engine", arrivals, other, run_type="simulated")],
    )
    first = intervals_of(aligned, seed=1)
    assert first == intervals_of(aligned, seed=1)
    assert first != intervals_of(aligned, seed=2)


def test_one_request_has_no_interval() -> None:
    aligned = align(
        [run_in_memory("real", [0], [[5, 6]])],
        [run_in_memory("engine", [0], [[5, 6]], run_type="simulated")],
    )
    assert intervals_of(aligned) == {"engine": {}}


def test_throughput_has_an_interval_from_runs_alone() -> None:
    arrivals, times = served()
    _, slower = served(jitter_seed=2)
    real = [run_in_memory("real-0", arrivals, times), run_in_memory("real-1", arrivals, slower)]
    simulated = run_in_memory("engine", arrivals, times, run_type="simulated")
    alone, both = (intervals_of(align(some, [simulated])) for some in (real[:1], real))
    assert ("throughput", "rate") not in alone["engine"]
    low, high = both["engine"]["throughput", "rate"]
    assert low < high


def test_of_three_real_runs_two_are_drawn() -> None:
    arrivals, times = served()
    real = [
        run_in_memory(f"real-{number}", arrivals, scaled(arrivals, times, factor))
        for number, factor in enumerate((1.0, 1.0, 1.5))
    ]
    simulated = run_in_memory("engine", arrivals, times, run_type="simulated")
    # two are both the slow one in 1 of 9 resamples, more than the tail of 5 %; three in 1 of 27
    aligned = align(real, [simulated])
    [found] = intervals_of(aligned, resamples=2000, confidence_pct=90).values()
    quick, _, slow = (tokens_per_s(run, OBJECTIVE) for run in aligned.real)
    # the simulation serves as the quick ones do
    expected = [0.0, 100 * (quick - slow) / slow]
    assert found["throughput", "rate"] == pytest.approx(expected)


# 200 trials of a true 95 % vary by ± 3 %; intervals of percentiles are known to be a little wide
@pytest.mark.parametrize("name", ["mean", "p50", "p90", "p95", "p99"])
@pytest.mark.parametrize("metric", ["TTFT", "ITL", "TPOT", "E2E"])
def test_intervals_hold_the_true_error_as_often_as_they_say(coverage, metric, name) -> None:
    assert 0.89 <= coverage[metric, name] <= 0.99


def test_intervals_hold_the_true_error_in_95_of_100_on_average(coverage) -> None:
    latencies = [
        share for (metric, _), share in coverage.items() if metric in ("TTFT", "ITL", "TPOT", "E2E")
    ]
    assert len(latencies) == 20
    assert np.mean(latencies) == pytest.approx(0.95, abs=0.02)


@pytest.fixture(scope="module")
def coverage() -> dict[tuple[str, str], float]:
    """How many of 200 seeded trials' 95 % intervals hold the true error.

    A trial draws 150 requests of 8 tokens; a request has a speed that both sides and its tokens
    share, and each side adds its own, by request and by token. The simulation's law is the real
    one's times 1.08: every true error is 8 %.
    """
    trials, requests, tokens = 200, 150, 8
    held: dict[tuple[str, str], int] = {}
    run = run_in_memory("any", [0], [[1]])
    grid = Grid(
        np.arange(requests),
        np.zeros(requests, dtype=np.int64),
        np.ones(requests),
        np.full(requests, tokens),
    )
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        speed = rng.lognormal(0, 0.3, (requests, 1))

        def series(
            scale: float, rng: np.random.Generator = rng, speed: np.ndarray = speed
        ) -> AlignedRun:
            own = rng.lognormal(0, 0.3, (requests, 1))
            gaps = scale * 1e7 * speed * own * rng.lognormal(0, 0.2, (requests, tokens))
            return AlignedRun(grid, np.cumsum(gaps, axis=1).astype(np.int64).ravel(), run=run)

        aligned = Aligned(grid, (series(1.0),), (series(1.08),))
        [intervals] = intervals_of(aligned, seed=trial, resamples=200).values()
        for key, (low, high) in intervals.items():
            held[key] = held.get(key, 0) + (low <= 8 <= high)
    return {key: count / trials for key, count in held.items()}

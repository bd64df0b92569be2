"""Attribution by substitution: a simulation with two known faults, and simulations with one of them
taken away.
"""

from typing import Any

import pandas as pd
import pytest

from gpu_timing_assets.compare.explain.attribution import (
    REST,
    SCHEDULER,
    TIME_MODEL,
    UNSEPARATED,
    attribute,
    largest_layers,
)
from gpu_timing_assets.compare.gate.align import align
from gpu_timing_assets.compare.gate.load import Run
from gpu_timing_assets.metrics.metric import Objective
from gpu_timing_assets.metrics.registry import all_metrics
from gpu_timing_assets_tests.unit.compare.synthetic_runs import MS, run_in_memory

ARRIVALS = [0, 0, 0, 0]
SIZES = [1.0, 1.2, 1.4, 1.6]


def token_times(ttft_ms: float, itl_ms: float) -> list[list[int]]:
    return [[round(MS * size * (ttft_ms + k * itl_ms)) for k in range(5)] for size in SIZES]


def simulation(name: str, ttft_ms: float, itl_ms: float, **meta: Any) -> Run:
    times = token_times(ttft_ms, itl_ms)
    return run_in_memory(name, ARRIVALS, times, run_type="simulated", **meta)


def attribution_of(*simulated: Run) -> pd.DataFrame:
    """Against a real run of TTFT 100 and ITL 10."""
    real = run_in_memory("real", ARRIVALS, token_times(100, 10))
    return attribute(align([real], list(simulated)), all_metrics(), Objective(200, 50))


def attributed(**simulations: tuple[float, float]) -> pd.DataFrame:
    """A simulation is given by its own TTFT and ITL."""
    return attribution_of(
        *(
            simulation(name, *times, substitution=None if name == "engine_loop" else name)
            for name, times in simulations.items()
        )
    )


def share(table: pd.DataFrame, metric: str, layer: str) -> float:
    rows = table[
        (table["metric"] == metric) & (table["statistic"] == "p50") & (table["layer"] == layer)
    ]
    return float(rows["share_pct"].iloc[0])


def test_each_layer_gets_the_fault_that_was_put_into_it() -> None:
    # the scheduler holds requests back (TTFT + 20 %), the time model is slow (ITL + 10 %, TTFT + 4
    # %), and the latency to the client is missing (TTFT − 3 %)
    table = attributed(
        engine_loop=(121, 11), recorded_batches=(101, 11), recorded_step_times=(117, 10)
    )
    assert share(table, "TTFT", SCHEDULER) == pytest.approx(20)
    assert share(table, "TTFT", TIME_MODEL) == pytest.approx(4)
    assert share(table, "TTFT", REST) == pytest.approx(-3)
    assert share(table, "ITL", SCHEDULER) == pytest.approx(0, abs=1e-9)
    assert share(table, "ITL", TIME_MODEL) == pytest.approx(10)
    assert share(table, "ITL", REST) == pytest.approx(0, abs=1e-9)


def test_shares_add_up_to_the_error_of_every_statistic() -> None:
    table = attributed(
        engine_loop=(121, 11), recorded_batches=(90, 13), recorded_step_times=(117, 8)
    )
    sums = table.groupby(["metric", "statistic"])["share_pct"].sum()
    errors = table.groupby(["metric", "statistic"])["error_pct"].first()
    assert len(sums) == 22
    pd.testing.assert_series_equal(sums, errors, check_names=False, rtol=1e-9, atol=1e-9)


def test_with_one_substitution_the_other_layers_are_not_separated() -> None:
    table = attributed(engine_loop=(121, 11), recorded_batches=(101, 11))
    assert set(table["layer"]) == {SCHEDULER, UNSEPARATED}
    assert share(table, "TTFT", SCHEDULER) == pytest.approx(20)
    assert share(table, "TTFT", UNSEPARATED) == pytest.approx(1)


def test_without_substitutions_nothing_is_said() -> None:
    assert attributed(engine_loop=(121, 11)).empty


def test_a_substitution_belongs_to_its_own_predictor() -> None:
    table = attribution_of(
        simulation("kernels_only", 50, 5, predictor="kernels_only"),
        simulation("engine_loop", 110, 10),
        simulation("substituted", 100, 10, substitution="recorded_batches"),
    )
    assert set(table["simulation"]) == {"engine_loop"}


def test_a_substitution_belongs_to_its_own_host_speed() -> None:
    table = attribution_of(
        simulation("as-profiled", 50, 5),
        simulation("corrected", 110, 10, host_ratio=1.1),
        simulation("substituted", 100, 10, substitution="recorded_batches", host_ratio=1.1),
    )
    assert set(table["simulation"]) == {"corrected"}


def test_the_largest_layer_is_found_by_size_not_sign() -> None:
    table = attributed(
        engine_loop=(95, 10), recorded_batches=(105, 10), recorded_step_times=(98, 10)
    )
    largest = largest_layers(table).set_index(["metric", "statistic"])
    assert largest.loc[("TTFT", "p50"), "layer"] == SCHEDULER
    assert largest.loc[("TTFT", "p50"), "share_pct"] == pytest.approx(-10)

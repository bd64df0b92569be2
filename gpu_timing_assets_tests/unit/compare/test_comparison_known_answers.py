"""Simulations made from the real run by a known change: every figure must say what was changed."""

import numpy as np
import pytest

from gpu_timing_assets.compare.explain.distances import distribution_distances
from gpu_timing_assets.compare.explain.grouped import (
    LOAD,
    OUTPUT,
    PROMPT,
    TIME,
    grouped_errors,
    running_at_arrival,
)
from gpu_timing_assets.compare.explain.over_time import load_over_time
from gpu_timing_assets.compare.explain.phases import phase_errors
from gpu_timing_assets.compare.explain.request_pairs import request_pairs
from gpu_timing_assets.compare.gate.align import align
from gpu_timing_assets.compare.judge.statistics import error_pct, noise_pct, run_statistics
from gpu_timing_assets.compare.judge.verdict import judge, verdict
from gpu_timing_assets.config.comparison import ComparisonPreset
from gpu_timing_assets.core.comparison import BELOW_NOISE, FAIL, PASS, UNDEFINED, WARN
from gpu_timing_assets.metrics.e2e import e2e_ms
from gpu_timing_assets.metrics.metric import Objective
from gpu_timing_assets.metrics.registry import all_metrics
from gpu_timing_assets_tests.unit.compare.synthetic_runs import (
    MS,
    run_in_memory,
    scaled,
    served,
    shifted,
)

PRESET = ComparisonPreset(bootstrap_resamples=200)
METRICS = all_metrics()
OBJECTIVE = Objective(ttft_ms=200, tpot_ms=50)


def aligned_with(simulated, arrivals, *real):
    return align(
        [run_in_memory(f"real-{k}", arrivals, times) for k, times in enumerate(real)],
        [run_in_memory("engine_loop", arrivals, simulated, run_type="simulated")],
    )


def verdicts_of(aligned):
    return judge(aligned, METRICS, OBJECTIVE, PRESET)


def test_a_scaled_simulation_is_off_by_its_scale_in_every_latency() -> None:
    arrivals, times = served()
    rows = verdicts_of(aligned_with(scaled(arrivals, times, 1.07), arrivals, times))
    latencies = [row for row in rows if row.unit == "ms"]
    assert len(latencies) == 20
    for row in latencies:
        assert row.error_pct == pytest.approx(7, abs=1e-4)
        assert row.low_pct == pytest.approx(7, abs=1e-4)
        assert row.high_pct == pytest.approx(7, abs=1e-4)
        assert (row.noise_pct, row.verdict) == (None, WARN)


def test_a_shifted_simulation_is_off_in_ttft_and_e2e_and_in_no_token() -> None:
    arrivals, times = served()
    aligned = aligned_with(shifted(times, 3 * MS), arrivals, times)
    rows = {(row.metric, row.statistic): row for row in verdicts_of(aligned)}
    for name in ("mean", "p50", "p90", "p95", "p99"):
        assert rows["TTFT", name].simulated - rows["TTFT", name].real == pytest.approx(3)
        assert rows["E2E", name].simulated - rows["E2E", name].real == pytest.approx(3)
        assert rows["ITL", name].error_pct == rows["TPOT", name].error_pct == 0
    pairs = request_pairs(aligned, METRICS).set_index("metric")
    assert pairs["bias_ms"].tolist() == pytest.approx([3, 0, 3])
    assert pairs["pearson_r"].tolist() == pytest.approx([1, 1, 1])
    phases = phase_errors(aligned).set_index("phase")
    assert phases["error_ms"].tolist() == pytest.approx([3, 0, 3])


def test_swapped_requests_keep_the_distribution_and_lose_the_pairs() -> None:
    arrivals, times = served(requests=60)
    ttft = [row[0] - arrival for row, arrival in zip(times, arrivals, strict=True)]
    swapped = [
        [time - own + other for time in row]
        for row, own, other in zip(times, ttft, reversed(ttft), strict=True)
    ]
    aligned = aligned_with(swapped, arrivals, times)
    rows = {(row.metric, row.statistic): row for row in verdicts_of(aligned)}
    assert all(abs(rows["TTFT", name].error_pct) < 1e-9 for name in ("mean", "p50", "p90", "p99"))
    distances = distribution_distances(aligned, METRICS).set_index("metric")
    assert distances.loc["TTFT", "ks"] == 0
    assert distances.loc["TTFT", "wasserstein_ms"] == pytest.approx(0)
    pairs = request_pairs(aligned, METRICS).set_index("metric")
    assert pairs.loc["TTFT", "mape_pct"] > 5
    assert pairs.loc["TTFT", "pearson_r"] < 0.5


def test_errors_that_cancel_show_in_the_phases() -> None:
    arrivals, times = [0, 0], [[100 * MS, 200 * MS]] * 2
    aligned = aligned_with([[50 * MS, 200 * MS]] * 2, arrivals, times)
    phases = phase_errors(aligned).set_index("phase")
    assert phases["error_pct"].tolist() == [-50, 50, 0]
    assert phases["contribution_pct"].tolist() == [-25, 25, 0]


def test_distances_of_a_shift() -> None:
    aligned = aligned_with([[4 * MS], [5 * MS]], [0, 0], [[1 * MS], [2 * MS]])
    distances = distribution_distances(aligned, METRICS).set_index("metric")
    assert distances.loc["TTFT", ["ks", "wasserstein_ms"]].tolist() == [1, 3]
    assert "ITL" not in distances.index


def test_noise_is_the_largest_difference_of_two_real_runs() -> None:
    assert noise_pct([10.0, 11.0, 9.0]) == pytest.approx(20)
    assert noise_pct([10.0]) is None
    arrivals, times = served()
    rows = verdicts_of(aligned_with(times, arrivals, times, scaled(arrivals, times, 1.1)))
    for row in rows:
        if row.unit == "ms":
            assert row.noise_pct == pytest.approx(100 * 0.1 / 1.05, abs=1e-3)
            assert row.error_pct == pytest.approx(100 * (1 / 1.05 - 1), abs=1e-3)
            assert row.verdict == BELOW_NOISE


def test_the_noise_of_the_prediction_is_the_bundles_by_the_same_statistic() -> None:
    arrivals, times = served()
    real = [run_in_memory("real-0", arrivals, times)]
    spread = {"ITL p50": 1.5, "TPOT mean": 0.4}
    simulated = [
        run_in_memory(
            label, arrivals, times, run_type="simulated", predictor=label, prediction_spread_pct=pct
        )
        for label, pct in (("engine_loop", spread), ("kernels_only", None))
    ]
    rows = verdicts_of(align(real, simulated))
    known = {
        (row.simulation, f"{row.metric} {row.statistic}"): row.prediction_noise_pct
        for row in rows
        if row.prediction_noise_pct is not None
    }
    assert known == {("engine_loop", name): pct for name, pct in spread.items()}


@pytest.mark.parametrize(
    ("error", "noise", "expected"),
    [
        (5.0, None, PASS),
        (-5.0, 0.0, PASS),
        (5.1, None, WARN),
        (-9.0, 1.0, WARN),
        (9.1, 9.0, FAIL),
        (-50.0, None, FAIL),
        (50.0, 50.0, BELOW_NOISE),
        (-1.0, 2.0, BELOW_NOISE),
        (None, 3.0, UNDEFINED),
    ],
)
def test_verdicts(error, noise, expected) -> None:
    assert verdict(error, noise, PRESET) == expected


def test_error_of_nothing_is_not_defined() -> None:
    assert error_pct(1.0, 0.0) is None
    assert error_pct(float("nan"), 1.0) is None


def test_one_token_requests_have_no_itl_and_no_tpot() -> None:
    times = [[4 * MS], [8 * MS]]
    rows = {
        (row.metric, row.statistic): row for row in verdicts_of(aligned_with(times, [0, 0], times))
    }
    assert rows["ITL", "p50"].verdict == rows["TPOT", "mean"].verdict == UNDEFINED
    assert rows["ITL", "p50"].error_pct is None
    assert rows["TTFT", "p50"].error_pct == 0


def test_throughput_and_goodput() -> None:
    arrivals, times = [0, 0, 0], [[10 * MS, 20 * MS, 500 * MS], [30 * MS], [90 * MS, 1000 * MS]]
    series = aligned_with(times, arrivals, times).real[0]
    figures = run_statistics(series, METRICS, Objective(ttft_ms=50, tpot_ms=245))
    assert figures["throughput", "rate"] == pytest.approx(6)
    assert figures["goodput", "rate"] == pytest.approx(2)
    assert run_statistics(series, METRICS, Objective(ttft_ms=50, tpot_ms=244))[
        "goodput", "rate"
    ] == pytest.approx(1)


def test_groups_hold_every_request_once_and_find_the_slow_half() -> None:
    arrivals, times = served(requests=100)
    slow = [
        shift if index >= 50 else row
        for index, (row, shift) in enumerate(zip(times, scaled(arrivals, times, 2.0), strict=True))
    ]
    table = grouped_errors(aligned_with(slow, arrivals, times), METRICS)
    for name in (LOAD, PROMPT, OUTPUT, TIME):
        assert (
            table[(table["grouped_by"] == name) & (table["metric"] == "E2E")]["requests"].sum()
            == 100
        )
    prompts = table[(table["grouped_by"] == PROMPT) & (table["metric"] == "E2E")].sort_values(
        "group"
    )
    assert prompts["error_pct"].tolist()[:2] == [0, 0]
    assert prompts["error_pct"].tolist()[-2:] == pytest.approx([100, 100], abs=1e-3)


def test_running_at_arrival_counts_those_that_came_and_did_not_finish() -> None:
    series = aligned_with(
        [[25 * MS]] * 3, [0, 10 * MS, 20 * MS], [[15 * MS], [25 * MS], [25 * MS]]
    ).real[0]
    assert running_at_arrival(series).tolist() == [0, 1, 1]


def test_load_over_time_integrates_to_the_requests_time() -> None:
    arrivals, times = served()
    aligned = aligned_with(times, arrivals, times)
    table = load_over_time(aligned)
    real = table[table["side"] == "real"]
    width = real["time_s"].diff().mean()
    assert real["running_requests"].sum() * width == pytest.approx(
        e2e_ms(aligned.real[0]).sum() / 1000, rel=1e-6
    )
    assert real["batch_size"].isna().all()
    assert np.isfinite(table["running_requests"]).all()

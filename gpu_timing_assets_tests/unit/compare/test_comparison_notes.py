"""What stands above the figures: what the simulations rest on."""

from typing import Any

from gpu_timing_assets.compare.caveats import caveats
from gpu_timing_assets.compare.findings import judge_and_explain
from gpu_timing_assets.compare.gate.admission import Admission
from gpu_timing_assets.compare.gate.align import align
from gpu_timing_assets.config.comparison import ComparisonPreset
from gpu_timing_assets.metrics.registry import all_metrics
from gpu_timing_assets_tests.unit.compare.synthetic_runs import run_in_memory

ARRIVALS = [0, 1_000_000]
TIMES = [[5_000_000, 7_000_000], [6_000_000, 9_000_000]]
PRESET = ComparisonPreset(bootstrap_resamples=100)


def notes(**meta: Any) -> str:
    """Those of a comparison whose only simulation's metadata have these changes."""
    real = run_in_memory("real", ARRIVALS, TIMES)
    simulated = run_in_memory("engine_loop", ARRIVALS, TIMES, run_type="simulated", **meta)
    aligned = align([real], [simulated])
    findings = judge_and_explain(aligned, all_metrics(), PRESET, judged="engine_loop")
    return "\n".join(caveats(aligned, findings, Admission(0, (0,), [], [], []), [], PRESET).notes)


def test_a_bundle_that_was_not_tested_is_named_with_a_remedy() -> None:
    said = notes(self_test_error_pct={}, bundle_measured_at="2026-01-01")
    assert "the bundle measured at 2026-01-01 was not tested on bursts" in said
    assert "vidur-profile --force" in said


def test_a_simulation_that_rests_on_no_bundle_says_nothing_of_one() -> None:
    assert "bundle" not in notes(self_test_error_pct=None)


def test_a_corrected_host_says_by_how_much() -> None:
    said = notes(host_ratio=1.126)
    assert "takes 1.13 times as long for everything that the engine's host does" in said
    assert "1.13" not in notes(host_ratio=None)

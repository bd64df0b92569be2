"""A simulation carries how well its bundle simulates, where it rests on what was tested."""

from pathlib import Path

import pytest

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.bundle import BUNDLE_META_FILE, BundleMeta, Repeatability, SelfTest
from gpu_timing_assets.core.files import read_metadata, write_json
from gpu_timing_assets.core.run import SimRunMeta, read_complete_run
from gpu_timing_assets.simulators import SimInputs, run
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import (
    target_config,
    write_bundle,
    write_workload,
)

ERRORS, SPREAD = {"ITL p50": 1.25, "TTFT p90": -8.0}, {"ITL p50": 0.5}
TESTED = SelfTest(bursts=1, requests=8, error_pct=ERRORS, layers_pct={"host": 0.1})
REPEATED = Repeatability(measured_at=("2026-01-01", "2026-01-02"), spread_pct=SPREAD)


def simulated(
    tmp_path: Path, predictor: str, self_test: SelfTest | None, found: Repeatability | None
) -> SimRunMeta:
    config: ExperimentConfig = target_config(tmp_path, f"simulator={predictor}")
    root = write_bundle(config.profiling_root, config)
    meta = read_metadata(root / BUNDLE_META_FILE, BundleMeta)
    changes = {"self_test": self_test, "repeatability": found}
    write_json(root / BUNDLE_META_FILE, meta.model_copy(update=changes))
    workload = write_workload(config.data.workload_dir("tiny"), [20, 40], [5, 6], [0, 4])
    run(config, SimInputs(workload, root), config.data.sim_run_dir(config.sim_run_id))
    return read_complete_run(config.data.sim_run_dir(config.sim_run_id), SimRunMeta)


@pytest.mark.parametrize(
    ("self_test", "found", "carried"),
    [
        (TESTED, REPEATED, (ERRORS, SPREAD)),
        (TESTED, None, (ERRORS, None)),
        (None, None, ({}, None)),
    ],
)
def test_the_tested_time_model_carries_its_errors_and_its_spread(
    tmp_path, self_test, found, carried
) -> None:
    meta = simulated(tmp_path, "engine_loop", self_test, found)
    assert (meta.self_test_error_pct, meta.prediction_spread_pct) == carried


@pytest.mark.parametrize("predictor", ["kernels_only", "random_forest"])
def test_a_predictor_that_takes_nothing_of_the_fits_carries_neither(tmp_path, predictor) -> None:
    meta = simulated(tmp_path, predictor, TESTED, REPEATED)
    assert (meta.self_test_error_pct, meta.prediction_spread_pct) == (None, None)

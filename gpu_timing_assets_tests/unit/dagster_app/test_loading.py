"""The definitions load fast and light, and every way to name the assets works."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets.dagster_app import placement
from gpu_timing_assets.definitions import defs

ASSETS = {
    "workload_spec",
    "real_run",
    "profiling_bundle",
    "sim_run",
    "sim_run_at_host_speed",
    "comparison",
    "fidelity_matrix",
}
DAGSTER = str(Path(sys.executable).with_name("dagster"))
# numpy is not among them: the checks are named by the metrics, which count with it (40 ms)
HEAVY = ("torch", "vllm", "vidur", "pandas", "altair", "hydra", "transformers", "scipy")


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "DAGSTER_HOME"}
    return subprocess.run(
        [*words],
        cwd=PROJECT_ROOT,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def loaded_by(module: str, names: tuple[str, ...]) -> list[str]:
    code = (
        f"import {module}, sys, json; "
        f"print(json.dumps([name for name in {names} if name in sys.modules]))"
    )
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_loading_the_definitions_imports_nothing_heavy():
    assert loaded_by("gpu_timing_assets.definitions", HEAVY) == []


@pytest.mark.parametrize("module", ["cli", "reports_server"])
def test_what_is_not_dagsters_imports_neither_it_nor_anything_heavy(module: str):
    assert loaded_by(f"gpu_timing_assets.{module}", (*HEAVY, "dagster")) == []


def test_definitions_validate_is_quick():
    begin = time.monotonic()
    done = run(DAGSTER, "definitions", "validate", "-m", "gpu_timing_assets.definitions")
    assert done.returncode == 0, done.stderr
    # 2 s on two quick cores, 4.7 s on two slow ones; tests may share them
    assert time.monotonic() - begin < 12


def test_asset_selections_parse():
    """hydra-core 1.3 brings an antlr4 that breaks every `--select`."""
    done = run(DAGSTER, "asset", "list", "-m", "gpu_timing_assets.definitions", "--select", "*")
    assert set(done.stdout.split()) == ASSETS, done.stderr


def test_the_page_tells_what_each_asset_is():
    for spec in defs.resolve_all_asset_specs():
        assert spec.description, spec.key
        assert len(spec.description) <= 110, spec.key
        assert spec.group_name != "default", spec.key
        assert spec.owners, spec.key
        assert spec.kinds, spec.key
        assert {"stage", "runs-on"} <= set(spec.tags), spec.key


@pytest.mark.parametrize("asset", ["real_run", "profiling_bundle"])
def test_what_measures_shares_the_pool_of_its_hardware(asset: str):
    node = defs.resolve_asset_graph().get(dg.AssetKey(asset))
    assert node.pools == {placement.HARDWARE.pool_name}


def test_nothing_starts_by_itself():
    repository = defs.get_repository_def()
    assert {schedule.default_status for schedule in repository.schedule_defs} == {
        dg.DefaultScheduleStatus.STOPPED
    }
    running = {
        sensor.name
        for sensor in repository.sensor_defs
        if sensor.default_status == dg.DefaultSensorStatus.RUNNING
    }
    assert running == {"failure_report"}

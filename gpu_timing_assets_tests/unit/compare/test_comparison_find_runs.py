"""Which runs of a data root belong to one comparison."""

import subprocess
import sys

import pytest

from gpu_timing_assets.core.data_root import DataRoot
from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.files import read_json, write_json
from gpu_timing_assets.core.run import RUN_META_FILE
from gpu_timing_assets.core.store import Store
from gpu_timing_assets.core.target import Target
from gpu_timing_assets_tests.unit.compare.synthetic_runs import (
    engine_params,
    meta_of,
    write_workload,
)

SUBJECT = ("chat", Target("tiny", "h100", "vllm"))


@pytest.fixture
def data(tmp_path) -> DataRoot:
    root = DataRoot(tmp_path)
    write_workload(root)
    return root


def put(data: DataRoot, run_id: str, run_type: str = "real", **changes) -> None:
    directory = data.path / ("real_runs" if run_type == "real" else "vidur_runs") / run_id
    directory.mkdir(parents=True)
    write_json(directory / RUN_META_FILE, meta_of(run_id, run_type, **changes))


def found(runs) -> list[str]:
    return [path.name for path in runs]


def test_complete_runs_of_the_workload_and_target_are_found_by_name(data) -> None:
    for run_id, changes in {
        "b": {},
        "a": {},
        "invalid": {"status": "invalid"},
        "older-workload": {"workload_sha256": "1"},
        "other-workload": {"workload_id": "x", "workload_sha256": "1"},
        "same-under-another-name": {"workload_id": "x"},
        "other-model": {"model": "big"},
        "other-hardware": {"hardware": "a100"},
        "other-backend": {"backend": "transformers"},
    }.items():
        put(data, run_id, **changes)
    (data.path / "real_runs" / "empty").mkdir()
    (data.path / "real_runs" / ".unfinished-c").mkdir()
    (data.path / "real_runs" / "broken").mkdir()
    (data.path / "real_runs" / "broken" / RUN_META_FILE).write_text("{")
    assert found(Store(data).real_runs_of(*SUBJECT)) == ["a", "b"]


def test_of_several_engine_configurations_the_newest_counts(data) -> None:
    put(data, "old-0", started_at="2026-01-01T00:00:00Z", params=engine_params(max_num_seqs=8))
    put(data, "new-0", started_at="2026-01-02T00:00:00Z")
    put(data, "new-1", started_at="2026-01-01T12:00:00Z")
    assert found(Store(data).real_runs_of(*SUBJECT)) == ["new-0", "new-1"]


def test_repeats_from_before_a_setting_was_recorded_stay_repeats(data) -> None:
    put(data, "older", started_at="2026-01-01T00:00:00Z")
    older = data.path / "real_runs" / "older" / RUN_META_FILE
    meta = read_json(older)
    del meta["params"]["native_library"]
    write_json(older, meta)
    put(data, "newer", started_at="2026-01-02T00:00:00Z")
    assert found(Store(data).real_runs_of(*SUBJECT)) == ["newer", "older"]


def test_simulations_are_those_of_the_target_the_newest_of_each_kind(data) -> None:
    put(data, "loop", "simulated", started_at="2026-01-02T00:00:00Z")
    put(data, "older-loop", "simulated", started_at="2026-01-01T00:00:00Z")
    put(data, "substituted", "simulated", substitution="recorded_batches")
    put(data, "other-engine", "simulated", backend="transformers")
    put(data, "older-workload", "simulated", predictor="random_forest", workload_sha256="1")
    assert found(Store(data).sim_runs_of(*SUBJECT)) == ["loop", "substituted"]


def test_without_runs_nothing_is_found_and_without_a_workload_it_is_named(data, tmp_path) -> None:
    assert Store(data).real_runs_of(*SUBJECT) == Store(data).sim_runs_of(*SUBJECT) == ()
    with pytest.raises(ArtifactError, match=r"workloads.gone has no workload_meta.json"):
        Store(data).real_runs_of("gone", SUBJECT[1])


def test_loading_the_package_loads_neither_pandas_nor_altair() -> None:
    code = "import sys, gpu_timing_assets.compare; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "gpu_timing_assets.core.comparison" in done.stdout.split()
    assert not {"pandas", "numpy", "scipy", "altair", "vl_convert", "jinja2"} & set(
        done.stdout.split()
    )

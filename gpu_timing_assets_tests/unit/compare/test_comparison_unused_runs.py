"""What a comparison does not use it says, and a copy is no repeat."""

import shutil
from pathlib import Path

import pytest

from gpu_timing_assets.compare import ComparisonInputs, run
from gpu_timing_assets.core.data_root import DataRoot
from gpu_timing_assets.core.errors import IncomparableRunsError
from gpu_timing_assets.core.files import read_json, write_json
from gpu_timing_assets.core.run import RUN_META_FILE
from gpu_timing_assets.core.store import Store
from gpu_timing_assets.core.unused_runs import unused_runs
from gpu_timing_assets_tests.unit.compare.synthetic_runs import (
    configuration,
    engine_params,
    real_meta,
    scaled,
    served,
    write_run,
    write_workload,
)

TARGET = real_meta("any").target
ARRIVALS, TIMES = served(requests=6)


@pytest.fixture
def data(tmp_path: Path) -> DataRoot:
    data = DataRoot(tmp_path / "data")
    write_workload(data, "chat")
    for repeat in range(2):
        times = served(requests=6, jitter_seed=repeat)[1]
        write_run(data.real_runs / f"chat--r{repeat}", ARRIVALS, times)
    write_run(data.sim_runs / "chat--sim", ARRIVALS, TIMES, run_type="simulated")
    return data


def inputs_of(data: DataRoot) -> ComparisonInputs:
    store = Store(data)
    real, simulated = store.real_runs_of("chat", TARGET), store.sim_runs_of("chat", TARGET)
    return ComparisonInputs(
        real, simulated, unused_runs(store, "chat", TARGET, {*real, *simulated})
    )


def test_where_every_run_is_used_nothing_is_listed(data: DataRoot) -> None:
    assert inputs_of(data).unused == ()


def test_every_run_that_is_found_and_not_used_is_listed_with_the_reason(data: DataRoot) -> None:
    older = "2025-01-01T00:00:00Z"
    for name, changes in {
        "chat--late": {"status": "invalid", "invalid_reasons": ("too late",)},
        "chat--older-workload": {"workload_sha256": "6" * 64},
        "chat--other-settings": {
            "params": engine_params(max_num_seqs=8),
            "started_at": older,
        },
        "other--run": {"workload_id": "other"},
        "chat--elsewhere": {"hardware": "a100"},
    }.items():
        write_run(data.real_runs / name, ARRIVALS, TIMES, **changes)
    kind = {"run_type": "simulated", "started_at": older}
    write_run(data.sim_runs / "chat--older", ARRIVALS, TIMES, **kind)
    for name in ("chat--damaged", "renamed", "other--damaged"):
        (data.real_runs / name).mkdir()
        (data.real_runs / name / RUN_META_FILE).write_text("{")
    found = dict(line.split(": ", 1) for line in inputs_of(data).unused)
    assert found.keys() == {
        *("chat--late", "chat--older-workload", "chat--other-settings", "chat--older"),
        *("chat--damaged", "renamed"),
    }
    assert "too late" in found["chat--late"]
    assert "workload was another" in found["chat--older-workload"]
    assert "other engine settings" in found["chat--other-settings"]
    assert "newer simulation" in found["chat--older"]
    assert "not JSON" in found["chat--damaged"]


def test_a_report_says_what_was_not_used(data: DataRoot, tmp_path: Path) -> None:
    (data.real_runs / "chat--damaged").mkdir()
    result = run(configuration(), inputs_of(data), tmp_path / "out")
    [listed] = result.meta.unused_runs
    assert listed.startswith("chat--damaged: ")
    assert f"found and not used: {listed}" in result.notes
    assert "chat--damaged" in result.report.read_text()


def test_a_copied_run_is_no_repeat(data: DataRoot, tmp_path: Path) -> None:
    shutil.copytree(data.real_runs / "chat--r0", data.real_runs / "chat--r2")
    with pytest.raises(IncomparableRunsError, match=r"chat--r2 is a copy of .*chat--r0"):
        run(configuration(), inputs_of(data), tmp_path / "out")


def test_a_copy_under_another_id_is_no_repeat_either(data: DataRoot, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(data.real_runs / "chat--r0", data.real_runs / "chat--r2"))
    write_json(copy / RUN_META_FILE, {**read_json(copy / RUN_META_FILE), "run_id": "chat--r2"})
    with pytest.raises(IncomparableRunsError, match=r"chat--r2 is a copy of .*chat--r0"):
        run(configuration(), inputs_of(data), tmp_path / "out")


def test_repeats_that_differ_are_compared(data: DataRoot, tmp_path: Path) -> None:
    times = scaled(ARRIVALS, TIMES, 1.001)
    write_run(data.real_runs / "chat--r2", ARRIVALS, times)
    result = run(configuration(), inputs_of(data), tmp_path / "out")
    assert len(result.meta.real_run_ids) == 3

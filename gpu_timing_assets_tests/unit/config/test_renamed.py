"""What older releases wrote and what people wrote for them: it composes, with a line that says
what it is called today.
"""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpu_timing_assets.config.experiment import compose, load_snapshot
from gpu_timing_assets.core.data_root import PROJECT_ROOT, REFERENCE_DATA, DataRoot
from gpu_timing_assets.core.errors import PresetError
from gpu_timing_assets.core.files import CONFIG_FILE
from gpu_timing_assets.core.store import Store
from gpu_timing_assets.engines.null import NullPreset
from gpu_timing_assets.engines.transformers import TransformersPreset
from gpu_timing_assets.engines.vllm import VllmPreset

MEASURED = DataRoot(REFERENCE_DATA / "h100")
# of a version 1 snapshot, which had one preset for all engines
BACKEND = {
    "name": "vllm",
    "python": None,
    "tensor_parallel_size": 1,
    "max_model_len": 4096,
    "max_num_seqs": 64,
    "max_num_batched_tokens": 2048,
    "gpu_memory_utilization": 0.8,
    "enforce_eager": True,
    "async_scheduling": None,
    "enable_prefix_caching": False,
    "early_stopping": False,
    "record_steps": True,
    "warmup_requests": 3,
    "warmup_prefill_tokens": 64,
    "warmup_decode_tokens": 16,
    "start_timeout_s": 600.0,
    "request_timeout_s": 600.0,
    "null_token_interval_ms": 2.5,
}


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("simulator=stock", "simulator=stock is called simulator=random_forest now"),
        ("simulator=kernel", "simulator=kernel is called simulator=kernels_only now"),
        ("simulator=engine", "simulator=engine is called simulator=engine_loop now"),
        (
            "simulator.predictor=kernel",
            "simulator.predictor=kernel is called simulator.predictor=kernels_only now",
        ),
        (
            "++simulator.variant=recorded_batches",
            "simulator.variant=recorded_batches is called "
            "simulator.substitution=recorded_batches now",
        ),
    ],
)
def test_an_older_override_composes_with_a_line_that_says_so(
    override: str, line: str, caplog: pytest.LogCaptureFixture
):
    older = compose([override])
    assert caplog.messages == [line]
    today = line.removesuffix(" now").rpartition(" ")[2]
    caplog.clear()
    assert older == compose([today])
    assert caplog.messages == []


def test_older_names_laid_over_a_preset_compose_too(caplog: pytest.LogCaptureFixture):
    changes = {"simulator": {"predictor": "kernel", "variant": "recorded_step_times", "seed": 4}}
    assert compose([], changes).simulator.model_dump() == {
        "name": "vidur",
        "predictor": "kernels_only",
        "substitution": "recorded_step_times",
        "host_speed": "profiled",
        "seed": 4,
        "max_extrapolation": 1.0,
    }
    assert len(caplog.records) == 2
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_a_command_says_it_on_stderr(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "gpu_timing_assets.cli", "compare-runs", "simulator=engine"],
        cwd=PROJECT_ROOT,
        env={**os.environ, "GPU_TIMING_DATA_ROOT": str(tmp_path), "GPU_TIMING_TARGET": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    first, second = done.stderr.splitlines()
    assert first == "simulator=engine is called simulator=engine_loop now"
    assert second.startswith("compare-runs: ")
    assert done.stdout == ""


def snapshot(folder: Path, **changes: Any) -> Path:
    """A directory made under schema version 1: a measured run's configuration with changes."""
    measured = next((MEASURED.path / "recording_cost" / "not_recorded").iterdir())
    config = json.loads((measured / CONFIG_FILE).read_text())
    assert "schema_version" not in config
    (folder / CONFIG_FILE).write_text(json.dumps({**config, **changes}))
    return folder


@pytest.mark.parametrize(
    ("name", "preset", "kept"),
    [
        ("vllm", VllmPreset, {"gpu_memory_utilization": 0.8, "enforce_eager": True}),
        ("transformers", TransformersPreset, {}),
        ("null_engine", NullPreset, {"null_token_interval_ms": 2.5}),
    ],
)
def test_a_snapshot_of_version_1_gives_each_engine_its_own_settings(
    tmp_path: Path, name: str, preset: type, kept: dict[str, Any]
):
    backend = load_snapshot(snapshot(tmp_path, backend={**BACKEND, "name": name})).backend
    assert type(backend) is preset
    assert (
        backend.model_dump().items() >= {"max_num_seqs": 64, "warmup_requests": 3, **kept}.items()
    )


def test_a_snapshot_of_version_1_names_its_simulator(tmp_path: Path):
    old = {"predictor": "kernel", "variant": "recorded_batches", "seed": 2, "max_extrapolation": 2}
    config = load_snapshot(snapshot(tmp_path, simulator=old))
    assert config.simulator.run_label == "kernels-only--recorded-batches"
    assert config.schema_version == 2


def test_a_snapshot_of_version_1_is_not_taken_where_it_is_wrong(tmp_path: Path):
    old = {"predictor": "oracle", "variant": None}
    with pytest.raises(PresetError, match="simulator.predictor: Input should be"):
        load_snapshot(snapshot(tmp_path, simulator=old))


def test_every_snapshot_of_the_reference_loads():
    found = sorted(REFERENCE_DATA.rglob(CONFIG_FILE))
    assert found
    for file in found:
        assert load_snapshot(file.parent).target.backend == "vllm"


def test_a_data_root_of_version_1_is_found_by_its_targets():
    runs = Store(MEASURED).real_runs
    assert runs
    assert {run.meta.schema_version for run in runs} == {2}
    for run in runs:
        assert run.directory.name.startswith(f"{run.meta.workload_id}--{run.meta.target}--")

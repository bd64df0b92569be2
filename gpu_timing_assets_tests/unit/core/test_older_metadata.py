"""What an older release wrote is read as if today's had: nothing on disk is rewritten."""

import json
from pathlib import Path
from typing import Any

import pytest

from gpu_timing_assets.config.experiment import load_snapshot
from gpu_timing_assets.core.bundle import BUNDLE_META_FILE, BundleMeta
from gpu_timing_assets.core.data_root import REFERENCE_DATA
from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.files import read_metadata, write_json
from gpu_timing_assets.core.run import (
    RUN_META_FILE,
    ComparisonMeta,
    ProfileRunMeta,
    RealRunMeta,
    SimRunMeta,
    read_complete_run,
)
from gpu_timing_assets.core.target import Target
from gpu_timing_assets.core.upgrade import upgrade_run_meta
from gpu_timing_assets.core.workload import WORKLOAD_META_FILE, read_workload_meta

REAL_RUN_METAS = [
    *sorted(REFERENCE_DATA.glob(f"*/real_runs/*/{RUN_META_FILE}")),
    *sorted(REFERENCE_DATA.glob(f"*/recording_cost/*/*/{RUN_META_FILE}")),
]
BUNDLE_METAS = sorted(REFERENCE_DATA.glob("*/vidur_profiling*/*/*/bundle_meta.json"))


def version_1(**changes: Any) -> dict[str, Any]:
    """A `run_meta.json` of schema version 1, with the engine's settings of a real one."""
    real = json.loads(REAL_RUN_METAS[0].read_text())
    kept = {name: real[name] for name in ("params", "started_at", "ended_at")}
    return {
        **kept,
        "schema_version": 1,
        "status": "complete",
        "model": "tiny",
        "hardware": "h100",
        "config": "config.json",
        "profiling_root": None,
        "real_run_dir": None,
        "sim_run_dir": None,
        **changes,
    }


def put(directory: Path, meta: dict[str, Any]) -> Path:
    directory.mkdir()
    write_json(directory / RUN_META_FILE, meta)
    return directory


@pytest.mark.parametrize("path", REAL_RUN_METAS, ids=lambda path: path.parent.name)
def test_every_shipped_real_run_is_read(path: Path) -> None:
    written = json.loads(path.read_text())
    meta = read_complete_run(path.parent, RealRunMeta)
    assert meta.ttft_ms.p50 == (written.get("details") or written)["ttft_ms"]["p50"]
    assert meta.params.engine == "vllm"
    assert load_snapshot(path.parent).target == meta.target


@pytest.mark.parametrize(
    "path", BUNDLE_METAS, ids=lambda path: str(path.parent.relative_to(REFERENCE_DATA))
)
def test_every_shipped_bundle_is_read(path: Path) -> None:
    bundle = read_metadata(path.parent / BUNDLE_META_FILE, BundleMeta)
    assert bundle.quality["coverage"].passed
    assert bundle.fitted_error_pct["attn_pre_proj"].points > 0
    assert read_complete_run(path.parent, ProfileRunMeta).target.model == bundle.model


def test_a_simulation_of_version_1_tells_its_engine_predictor_and_substitution(tmp_path) -> None:
    details = {
        "predictor": "engine",
        "variant": "recorded_batches",
        "extrapolated": True,
        "wall_s": 1.5,
        "event_loop_s": 1.0,
        "steps": 7,
        "num_tokens": 90,
        "simulated_s": 12.0,
        "seed": 3,
        "bundle_config_sha256": "b",
        "bundle_measured_at": "2026-11-23T05:54:00Z",
    }
    run_id = "chat--tiny--h100--null-engine--engine--recorded-batches"
    written = version_1(
        run_id=run_id,
        run_type="vidur",
        backend="vidur",
        workload_id="chat",
        workload_sha256="0",
        workload_dir="workloads/chat",
        details=details,
    )
    meta = read_complete_run(put(tmp_path / "run", written), SimRunMeta)
    assert meta.target == Target("tiny", "h100", "null_engine")
    assert (meta.simulator, meta.predictor) == ("vidur", "engine_loop")
    assert meta.label == "engine_loop + recorded batches"
    assert (meta.num_steps, meta.extrapolated) == (7, True)


def test_a_comparison_of_version_1_is_read(tmp_path) -> None:
    details = {
        "primary_simulation": "engine",
        "simulations": ["engine"],
        "real_run_ids": ["r0"],
        "inputs": [{"name": "r0", "path": "/data/r0", "run_meta_sha256": "0"}],
        "overridden": [],
        "listed_mismatches": ["other.x is 1"],
        "notes": ["one"],
        "completeness": [],
        "mean_running_requests": 2.5,
        "host_time_ratio": {"r0": 1.1},
        "confidence_pct": 95.0,
    }
    written = version_1(
        run_id="chat--tiny--h100--vllm",
        run_type="compare",
        backend="vllm",
        workload_id="chat",
        workload_sha256="0",
        workload_dir=None,
        details=details,
    )
    meta = read_complete_run(put(tmp_path / "run", written), ComparisonMeta)
    assert meta.primary_simulation == "engine"
    assert meta.host_time_ratio == {"r0": 1.1}


def test_a_run_of_another_kind_is_refused_by_name(tmp_path) -> None:
    directory = put(tmp_path / "run", {"schema_version": 2, "run_type": "profile"})
    with pytest.raises(ArtifactError, match="is a 'profile' run, expected a 'real' one"):
        read_complete_run(directory, RealRunMeta)


def test_todays_metadata_is_left_as_it_is() -> None:
    written = {"schema_version": 2, "run_type": "simulated", "details": "not ours"}
    assert upgrade_run_meta(written) is written


def test_a_workload_of_version_1_is_read(tmp_path) -> None:
    written = {
        "schema_version": 1,
        "workload_id": "chat",
        "workload_sha256": "0",
        "num_requests": 2,
        "num_prefill_tokens": 10,
        "num_decode_tokens": 4,
        "duration_ns": 5,
        "seed": 0,
        "tokenizer": {
            "name": "Qwen3",
            "sha256": "1",
            "base_vocab_size": 100,
            "special_token_ids": [3],
        },
        "source": {"kind": "synthetic"},
        "config_sha256": "2",
        "config": "config.json",
        "details": {
            "made_from": {"generator_version": 1},
            "longest_request_tokens": 9,
            "mean_rate_per_s": None,
            "files_sha256": {"prompts.jsonl": "3"},
            "closed_loop": {"users": 2, "mean_think_time_ns": 7},
        },
    }
    write_json(tmp_path / WORKLOAD_META_FILE, written)
    meta = read_workload_meta(tmp_path)
    assert meta.tokenizer.special_token_ids == (3,)
    assert meta.closed_loop is not None
    assert meta.closed_loop.users == 2
    assert meta.files_sha256 == {"prompts.jsonl": "3"}

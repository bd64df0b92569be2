"""Makes a bundle of what was measured: its tables, their quality, and what it says of itself."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

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
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.files import CONFIG_FILE, read_metadata, write_json
from gpu_timing_assets.core.provenance import git_state, utc_now
from gpu_timing_assets.core.run import RUN_META_FILE, ProfileRunMeta
from gpu_timing_assets.core.tables.schemas import (
    ALL_REDUCE,
    ATTENTION,
    BURST_BATCHES,
    BURST_REQUESTS,
    BURST_STEPS,
    BURST_TOKENS,
    HEAD,
    LAYER_OPERATORS,
    MLP,
    STATISTICS,
)
from gpu_timing_assets.engines.session import SESSION_FILE, Session
from gpu_timing_assets.measure.profiling.cpu_overheads import write_cpu_overheads
from gpu_timing_assets.measure.profiling.parts import (
    ALL_REDUCES,
    ATTENTION_CASES,
    BURSTS_DIR,
    HEADS,
    LINEARS,
    LOGITS_GATHERS,
    PROBES_FILE,
    AttentionTime,
    KernelTime,
    LinearTime,
    Probes,
)
from gpu_timing_assets.measure.profiling.quality import judge_bundle


def write_bundle(config: ExperimentConfig, parts: Path, out: Path, started_at: str) -> BundleMeta:
    """The bundle of the measured `parts` in `out`.

    Raises `ArtifactError` and `ProfilingBundleError` as `quality.judge_bundle`.
    """
    session = read_metadata(parts / SESSION_FILE, Session)
    duration_s = _write_tables(config, session, parts, out)
    judgement = judge_bundle(config, session.params, out)
    params, grid = session.params, config.profiling
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
        duration_s=duration_s,
        quality=judgement.quality,
        fitted_error_pct=judgement.fitted_error_pct,
        fits=judgement.fits,
        self_test=judgement.self_test,
        host_probes=read_metadata(parts / BURSTS_DIR / PROBES_FILE, Probes).played,
    )
    commit, dirty = git_state()
    run_meta = ProfileRunMeta(
        run_id=f"{config.model.name}--{config.hardware.name}",
        model=config.model.name,
        hardware=config.hardware.name,
        backend=config.backend.name,
        started_at=started_at,
        ended_at=utc_now(),
        git_commit=commit,
        git_dirty=dirty,
        env=session.env,
        params=params,
        duration_s=duration_s,
    )
    write_json(out / CONFIG_FILE, config)
    write_json(out / RUN_META_FILE, run_meta)
    write_json(out / BUNDLE_META_FILE, meta)
    return meta


def _write_tables(
    config: ExperimentConfig, session: Session, parts: Path, out: Path
) -> dict[str, float]:
    """How long each part took, in s."""
    params = session.params
    kernels = compute_dir(out, config.hardware.name, config.model.name)
    kernels.mkdir(parents=True)
    host_dir(out).mkdir()
    linears, heads = LINEARS.read(parts), HEADS.read(parts)
    attention = ATTENTION_CASES.read(parts)
    MLP.write(_mlp_table(linears.rows, params), kernels)
    ATTENTION.write(_attention_table(attention.rows, params), kernels)
    head_rows, collectives_s = list(heads.rows), {}
    if params.tensor_parallel_size > 1:
        reduces, gathers = ALL_REDUCES.read(parts), LOGITS_GATHERS.read(parts)
        ALL_REDUCE.write(_all_reduce_table(reduces.rows, params), out)
        head_rows += gathers.rows
        collectives_s = {"collectives": reduces.duration_s + gathers.duration_s}
    head = _one_row_each("num_requests", [(row.num_requests, row.time) for row in head_rows])
    HEAD.write(head, out)
    for table in (BURST_STEPS, BURST_REQUESTS, BURST_BATCHES, BURST_TOKENS):
        shutil.copy(table.find(parts / BURSTS_DIR), host_dir(out))
    write_json(out / ENGINE_FILE, params)
    write_cpu_overheads(BURST_STEPS.read(host_dir(out)), HEAD.read(out), config, out)
    duration_s = {
        "engine_start": session.engine_start_s,
        "bursts": session.work_s,
        "linears": linears.duration_s,
        "head": heads.duration_s,
        "attention": attention.duration_s,
        **collectives_s,
    }
    return {**duration_s, "total": sum(duration_s.values())}


def _one_row_each(key: str, timings: Iterable[tuple[int, KernelTime]]) -> pd.DataFrame:
    """A row for each value of `key`, a `time_stats.<operator>.<statistic>` column (ms) a timing."""
    by_key: dict[int, dict[str, float]] = {}
    for value, timing in timings:
        by_key.setdefault(value, {}).update(_time_stats(timing))
    return pd.DataFrame([{**by_key[value], key: value} for value in sorted(by_key)])


def _time_stats(timing: KernelTime) -> dict[str, float]:
    return {
        f"time_stats.{timing.operator}.{statistic}": getattr(timing, statistic)
        for statistic in STATISTICS
    }


def _mlp_table(rows: Sequence[LinearTime], params: EngineParams) -> pd.DataFrame:
    d = params.model_dimensions
    assert {row.time.operator for row in rows} == set(LAYER_OPERATORS)
    return _one_row_each("num_tokens", [(row.num_tokens, row.time) for row in rows]).assign(
        n_head=d.num_attention_heads,
        n_kv_head=d.num_key_value_heads,
        n_embd=d.hidden_size,
        n_expanded_embd=d.intermediate_size,
        vocab_size=d.vocab_size,
        use_gated_mlp=True,
        num_tensor_parallel_workers=params.tensor_parallel_size,
    )


def _all_reduce_table(rows: Sequence[LinearTime], params: EngineParams) -> pd.DataFrame:
    table = _one_row_each("num_tokens", [(row.num_tokens, row.time) for row in rows])
    return table.assign(num_tensor_parallel_workers=params.tensor_parallel_size)


def _attention_table(rows: Sequence[AttentionTime], params: EngineParams) -> pd.DataFrame:
    d = params.model_dimensions
    return pd.DataFrame(
        [
            {
                **_time_stats(row.attend),
                **_time_stats(row.save),
                "batch_size": row.batch_size,
                "prefill_chunk_size": row.prefill_chunk_size,
                "kv_cache_size": row.kv_cache_size,
                "is_prefill": row.prefill_chunk_size > 0,
            }
            for row in rows
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

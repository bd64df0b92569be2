"""A profiling bundle and a workload on disk, made by formula: what a fit of them must find is
known. The engine of the bundle is `planted_engine.LOOP`.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gpu_timing_assets.config.dtype import resolved_dtype
from gpu_timing_assets.config.experiment import ExperimentConfig, compose
from gpu_timing_assets.config.model_card import read_model_dimensions
from gpu_timing_assets.core.bundle import (
    BUNDLE_META_FILE,
    ENGINE_FILE,
    BundleMeta,
    compute_dir,
    host_dir,
)
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.files import CONFIG_FILE, write_json
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
    TRACE_INTERVALS,
    TRACE_LENGTHS,
)
from gpu_timing_assets.core.workload import WORKLOAD_META_FILE, WorkloadMeta, workload_sha256
from gpu_timing_assets.engine_loop.kernels import KernelTimes
from gpu_timing_assets_tests.unit.simulators.planted_engine import MS, BurstFrames, record_bursts

TARGET = (
    "model=qwen3-tiny",
    "hardware=h100",
    "backend=vllm",
    "profiling=quick",
    "backend.max_num_seqs=8",
    "backend.max_num_batched_tokens=64",
    "backend.max_model_len=512",
)
KERNEL_MS = {
    "attn_pre_proj": 0.010,
    "attn_post_proj": 0.008,
    "mlp_up_proj": 0.012,
    "mlp_down_proj": 0.011,
    "mlp_act": 0.003,
    "input_layernorm": 0.002,
    "post_attention_layernorm": 0.002,
    "attn_rope": 0.002,
    "add": 0.001,
    "add_rms_norm": 0.002,
    "qk_norm": 0.002,
    "embedding": 0.003,
}


def target_config(data_root: Path, *overrides: str) -> ExperimentConfig:
    return compose([*TARGET, f"data_root={data_root}", *overrides])


def engine_params(config: ExperimentConfig, **changes: Any) -> EngineParams:
    backend = config.backend
    params = EngineParams(
        engine="vllm",
        engine_version="0.26.0",
        device_name="NVIDIA H100",
        model_dimensions=read_model_dimensions(config.model),
        dtype=resolved_dtype(config.model, config.hardware),
        tensor_parallel_size=backend.tensor_parallel_size,
        max_model_len=backend.max_model_len or 512,
        max_num_seqs=backend.max_num_seqs,
        max_num_batched_tokens=backend.max_num_batched_tokens,
        enable_chunked_prefill=True,
        async_scheduling=True,
        enable_prefix_caching=False,
        num_kv_blocks=257,
        kv_block_size=16,
        attention_backend="FLASH_ATTN",
        graph_mode="FULL_AND_PIECEWISE",
        graph_capture_sizes=(1, 2, 4, 8, 16, 32),
        other={"scheduler_reserve_full_isl": True},
    )
    return params.model_copy(update=changes)


def kernel_tables(params: EngineParams) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """`(mlp, attention, head)`: every kernel takes a linear time."""
    d = params.model_dimensions
    mlp = [
        {
            **_stats({name: KERNEL_MS[name] * (1 + n / 64) for name in LAYER_OPERATORS}),
            "num_tokens": n,
            "n_head": d.num_attention_heads,
            "n_kv_head": d.num_key_value_heads,
            "n_embd": d.hidden_size,
            "n_expanded_embd": d.intermediate_size,
            "vocab_size": d.vocab_size,
            "use_gated_mlp": True,
            "num_tensor_parallel_workers": params.tensor_parallel_size,
        }
        for n in (1, 2, 4, 8, 16, 32, 48, 64)
    ]
    decode = [
        (batch, 0, context, {"attn_decode": 0.004 + 2e-6 * batch * context, "attn_prefill": None})
        for batch in (1, 2, 4, 8)
        for context in (16, 128, 512)
    ]
    prefill = [
        (
            1,
            chunk,
            context,
            {"attn_prefill": 0.005 + 1e-6 * chunk * (context + chunk), "attn_decode": None},
        )
        for chunk in (16, 32, 48, 64)
        for context in (0, 128, 512)
    ]
    attention = [
        {
            **_stats({**times, "attn_kv_cache_save": 0.001 + 1e-5 * max(batch, chunk)}),
            "batch_size": batch,
            "prefill_chunk_size": chunk,
            "kv_cache_size": context,
            "is_prefill": chunk > 0,
            "n_embd": d.hidden_size,
            "n_q_head": d.num_attention_heads,
            "n_kv_head": d.num_key_value_heads,
            "block_size": params.kv_block_size,
            "num_tensor_parallel_workers": params.tensor_parallel_size,
            "max_model_len": params.max_model_len,
            "attention_backend": params.attention_backend,
        }
        for batch, chunk, context, times in decode + prefill
    ]
    shared = params.tensor_parallel_size > 1
    head = [
        {
            **_stats({"lm_head": 0.05 + 0.001 * n, "sampler": 0.02 + 0.001 * n}),
            **(_stats({"logits_gather": 0.03 + 0.002 * n}) if shared else {}),
            "num_requests": n,
        }
        for n in (1, 2, 4, 8)
    ]
    return pd.DataFrame(mlp), pd.DataFrame(attention), pd.DataFrame(head)


def all_reduce_table(params: EngineParams) -> pd.DataFrame | None:
    """None of a model on one device."""
    if params.tensor_parallel_size == 1:
        return None
    rows = [{**_stats({"all_reduce": 0.01 + 0.0005 * n}), "num_tokens": n} for n in (1, 8, 32, 64)]
    return pd.DataFrame(rows).assign(num_tensor_parallel_workers=params.tensor_parallel_size)


def kernel_times(
    params: EngineParams, factor: float = 1.0, decode_attention_factor: float = 1.0
) -> KernelTimes:
    """Of `kernel_tables`, all times `factor`, and decode attention times the other factor too."""
    mlp, attention, head = kernel_tables(params)
    attention["time_stats.attn_decode.median"] *= decode_attention_factor
    all_reduce, layers = all_reduce_table(params), params.model_dimensions.num_hidden_layers
    for frame in (mlp, attention, head, *([] if all_reduce is None else [all_reduce])):
        times = [name for name in frame.columns if name.endswith(".median")]
        frame[times] *= factor
    return KernelTimes(mlp, attention, head, layers, all_reduce)


def recorded_bursts(
    params: EngineParams, kernel_factor: float = 1.0, *, held_out_scale: float = 1.0
) -> BurstFrames:
    """What the engine records with `kernel_times(params, kernel_factor)`: made once, and a copy for
    each who asks.
    """
    made = _bursts_made_once(params.model_dump_json(), kernel_factor, held_out_scale)
    tables = made.steps, made.requests, made.batches, made.tokens
    return BurstFrames(*(table.copy() for table in tables))


@functools.cache
def _bursts_made_once(params: str, kernel_factor: float, held_out_scale: float) -> BurstFrames:
    engine = EngineParams.model_validate_json(params)
    kernels = kernel_times(engine, kernel_factor)
    return record_bursts(engine, kernels, held_out_scale=held_out_scale)


def _stats(times: dict[str, float | None]) -> dict[str, float | None]:
    factors = {"min": 0.98, "max": 1.05, "mean": 1.0, "median": 1.0}
    stats = {
        f"time_stats.{name}.{statistic}": None if ms is None else ms * factor
        for name, ms in times.items()
        for statistic, factor in factors.items()
    }
    return stats | {
        f"time_stats.{name}.std": None if ms is None else ms * 0.02 for name, ms in times.items()
    }


def write_bundle(
    root: Path,
    config: ExperimentConfig,
    params: EngineParams | None = None,
    recorded: BurstFrames | None = None,
) -> Path:
    """The whole bundle of `config`'s target in `root`."""
    params = params or engine_params(config)
    kernels_dir = compute_dir(root, config.hardware.name, config.model.name)
    kernels_dir.mkdir(parents=True)
    host_dir(root).mkdir()
    mlp, attention, head = kernel_tables(params)
    recorded = recorded or recorded_bursts(params)
    for table, frame, directory in (
        (MLP, mlp, kernels_dir),
        (ATTENTION, attention, kernels_dir),
        (HEAD, head, root),
    ):
        table.write(frame, directory)
    if (all_reduce := all_reduce_table(params)) is not None:
        ALL_REDUCE.write(all_reduce, root)
    for table, frame in (
        (BURST_STEPS, recorded.steps),
        (BURST_REQUESTS, recorded.requests),
        (BURST_BATCHES, recorded.batches),
        (BURST_TOKENS, recorded.tokens),
    ):
        table.write(frame, host_dir(root))
    _write_metadata(root, config, params)
    return root


def _write_metadata(root: Path, config: ExperimentConfig, params: EngineParams) -> None:
    write_json(root / ENGINE_FILE, params)
    write_json(root / CONFIG_FILE, config)
    write_json(
        root / RUN_META_FILE,
        ProfileRunMeta(
            run_id=f"{config.model.name}--{config.hardware.name}",
            model=config.model.name,
            hardware=config.hardware.name,
            backend=config.backend.name,
            started_at="2026-01-01T00:00:00Z",
            ended_at="2026-01-01T00:00:01Z",
            params=params,
            duration_s={"total": 1.0},
        ),
    )
    write_json(
        root / BUNDLE_META_FILE,
        BundleMeta(
            model=config.model.name,
            hardware=config.hardware.name,
            engine=params.engine,
            engine_version=params.engine_version,
            device_name=params.device_name,
            tensor_parallel_size=params.tensor_parallel_size,
            model_dimensions=params.model_dimensions,
            bundle_config_sha256=config.bundle_config_sha256,
            profiling_preset="synthetic",
            measured_at="2026-01-01T00:00:00Z",
            max_num_tokens=64,
            max_decode_batch_size=8,
            max_context_tokens=512,
            duration_s={"total": 1.0},
        ),
    )


def write_workload(
    directory: Path, prefill: Sequence[int], decode: Sequence[int], arrival_ms: Sequence[float]
) -> Path:
    """A workload without prompts: what a simulation reads of one."""
    directory.mkdir(parents=True)
    ids = np.arange(len(prefill))
    arrival_ns = np.rint(np.asarray(arrival_ms, dtype=float) * MS).astype(np.int64)
    TRACE_LENGTHS.write(
        pd.DataFrame(
            {
                "request_id": ids,
                "prompt_id": [f"p{i}" for i in ids],
                "num_prefill_tokens": prefill,
                "num_decode_tokens": decode,
            }
        ),
        directory,
    )
    TRACE_INTERVALS.write(
        pd.DataFrame(
            {
                "request_id": ids,
                "inter_arrival_ns": np.diff(arrival_ns, prepend=0),
                "arrival_time_ns": arrival_ns,
            }
        ),
        directory,
    )
    sha = workload_sha256(
        (directory / "trace_lengths.csv").read_bytes(),
        (directory / "trace_intervals.csv").read_bytes(),
        "0",
    )
    write_json(
        directory / WORKLOAD_META_FILE,
        WorkloadMeta(
            workload_id=directory.name,
            workload_sha256=sha,
            num_requests=len(ids),
            num_prefill_tokens=int(sum(prefill)),
            num_decode_tokens=int(sum(decode)),
            longest_request_tokens=max(map(sum, zip(prefill, decode, strict=True))),
            mean_rate_per_s=None,
            duration_ns=int(arrival_ns[-1]),
            seed=0,
            tokenizer={"name": "none", "sha256": "0", "base_vocab_size": 1000},
            source={"kind": "synthetic"},
            config_sha256="0",
        ),
    )
    return directory

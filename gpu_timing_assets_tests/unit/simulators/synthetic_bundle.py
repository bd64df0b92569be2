"""A profiling bundle and a workload on disk, made by formula: what a fit of them must find is
known.

The engine of the bundle is `LOOP`: an asynchronous vLLM loop whose every part takes a linear time.
The bursts are what such an engine records when it is driven as `burst_plan` drives a real
one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
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
from gpu_timing_assets.core.tables.schemas import (
    ALL_REDUCE,
    ATTENTION,
    BURST_BATCHES,
    BURST_REQUESTS,
    BURST_STEPS,
    HEAD,
    LAYER_OPERATORS,
    MLP,
    TRACE_INTERVALS,
    TRACE_LENGTHS,
)
from gpu_timing_assets.core.workload import WORKLOAD_META_FILE, WorkloadMeta, workload_sha256
from gpu_timing_assets.engine_loop.cuda_graphs import graph_modes, padded_tokens
from gpu_timing_assets.engine_loop.kernels import KernelTimes
from gpu_timing_assets.engine_loop.step import Step

TARGET = (
    "model=qwen3-tiny",
    "hardware=h100",
    "backend=vllm",
    "profiling=quick",
    "backend.max_num_seqs=8",
    "backend.max_num_batched_tokens=64",
    "backend.max_model_len=512",
)
MS = 1_000_000
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


@dataclass(frozen=True)
class Loop:
    """The parts of the synthetic engine's loop, in ms: each is `fixed + slope · count`."""

    schedule: tuple[float, float] = (0.05, 0.002)
    launch: tuple[tuple[str, float], ...] = (("full", 0.4), ("piecewise", 3.0), ("eager", 6.0))
    launch_per_request: float = 0.004
    update: tuple[float, float] = (0.04, 0.003)
    gap: tuple[float, float] = (0.03, 0.001)
    mixed_start: float = 1.0
    # factors on a mixed step's kernels: without and of its decode attention, and by the seconds of
    # mixed kernels right before
    mixed_scale: float = 1.0
    mixed_decode_attention: float = 1.0
    throttle_per_s: float = 0.0
    client_in: tuple[float, float] = (0.3, 0.002)
    client_out: tuple[float, float] = (0.1, 0.005)
    client_spread: float = 0.01

    def launch_ms(self, mode: str, num_requests: int) -> float:
        return dict(self.launch)[mode] + self.launch_per_request * num_requests


LOOP = Loop()


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


@dataclass(frozen=True)
class _Step:
    """What is in a step: prompt chunks as `(request, tokens, context)` and the context of each
    decoding request.
    """

    chunks: tuple[tuple[int, int, int], ...]
    decodes: tuple[tuple[int, int], ...]
    not_before_ns: int = 0


def burst_tables(
    params: EngineParams, kernels: KernelTimes, loop: Loop = LOOP
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """`(burst_steps, burst_requests, burst_batches)` of bursts of each kind."""
    bursts: list[tuple[str, list[_Step], dict[int, tuple[int, int, int]]]] = []
    for context in (16, 32, 48):
        for batch in (1, 2, 4, 8):
            # the prompts are one chunk each, a step apiece, so that the budget holds
            steps = [
                _Step(((r, context, 0),), tuple((q, context + r - q) for q in range(r)))
                for r in range(batch)
            ]
            steps += [
                _Step((), tuple((r, context + batch - r + k) for r in range(batch)))
                for k in range(16)
            ]
            bursts.append(
                ("decode", steps, {r: (0, context, 16 + batch - r) for r in range(batch)})
            )
    for repeat in range(4):
        steps, requests, at = [], {}, 0
        for r, length in enumerate((8, 16, 24, 32, 48, 64)):
            at += (150 + 7 * r + repeat) * MS
            steps += [
                _Step(((r, length, 0),), (), at),
                _Step((), ((r, length + 1),)),
                _Step((), ((r, length + 2),)),
            ]
            requests[r] = (at, length, 3)
        bursts.append(("idle", steps, requests))
    for background in (2, 4, 6):
        steps = [
            _Step(((r, 8, 0),), tuple((q, 8 + r - q) for q in range(r))) for r in range(background)
        ]
        requests = {r: (0, 8, 99) for r in range(background)}
        context, r = 8 + background, background
        for length in (8, 16, 32, 48, 8, 16, 32, 48):
            alone = tuple((q, context) for q in range(background))
            steps += [_Step((), alone)] * 4 + [_Step(((r, length, 0),), alone)]
            steps += [_Step((), (*alone, (r, length + 1))), _Step((), (*alone, (r, length + 2)))]
            requests[r] = (0, length, 3)
            context, r = context + 7, r + 1
        bursts.append(("inject", steps, requests))
    rng = np.random.default_rng(7)
    steps, requests = [], {}
    for r in range(24):
        length, decoding = int(rng.integers(8, 56)), int(rng.integers(0, 7))
        alone = tuple((q, 100) for q in range(max(0, r - decoding), r))
        steps += [_Step(((r, length, 0),), alone), *[_Step((), (*alone, (r, length + 1)))] * 3]
        requests[r] = (0, length, 4)
    bursts.append(("storm", steps, requests))

    tables: tuple[list[pd.DataFrame], list[pd.DataFrame], list[pd.DataFrame]] = ([], [], [])
    clock, number = 0, 0
    for burst, (kind, steps, requests) in enumerate(bursts):
        rows, request_rows, batch_rows, clock, number = _play(
            steps, requests, params, kernels, loop, clock, number, rng
        )
        tables[0].append(pd.DataFrame(rows).assign(burst=burst, kind=kind))
        tables[1].append(pd.DataFrame(request_rows).assign(burst=burst, kind=kind))
        tables[2].append(pd.DataFrame(batch_rows).assign(burst=burst, kind=kind))
    whole, asked, batches = (pd.concat(frames, ignore_index=True) for frames in tables)
    return whole, asked, batches[batches["kind"] == "storm"]


def _play(
    steps: list[_Step],
    requests: dict[int, tuple[int, int, int]],
    params: EngineParams,
    kernels: KernelTimes,
    loop: Loop,
    clock: int,
    number: int,
    rng: np.random.Generator,
) -> tuple[list[Any], list[Any], list[Any], int, int]:
    """Run the steps through the loop: the picture in `engine_loop.loop_timing`, in ns from
    `clock`.
    """
    origin, now, gpu_free, mixed_row_ms = clock, float(clock), 0.0, 0.0
    rows: list[dict[str, Any]] = []
    batches: list[dict[str, Any]] = []
    previous: tuple[dict[str, Any], float] | None = None

    def jittered(ms: float) -> float:
        return ms * MS * float(rng.uniform(0.97, 1.03))

    def finish(row: dict[str, Any], ready: float, at: float) -> float:
        row["update_begin_ns"] = round(max(at, ready))
        fixed, slope = loop.update
        row["update_end_ns"] = round(
            row["update_begin_ns"]
            + jittered(fixed + slope * (row["num_decode_requests"] + row["num_prefill_requests"]))
        )
        if row["num_outputs"]:
            row["client_first_ns"] = round(
                row["update_end_ns"]
                + jittered(loop.client_out[0] + loop.client_out[1] * row["num_outputs"])
            )
            row["client_last_ns"] = row["client_first_ns"] + round(
                loop.client_spread * MS * (row["num_outputs"] - 1)
            )
        return float(row["update_end_ns"])

    for step in steps:
        visible = (
            origin
            + step.not_before_ns
            + loop.client_in[0] * MS
            + loop.client_in[1] * MS * sum(n for _, n, _ in step.chunks)
        )
        if step.not_before_ns and previous is not None:
            now = finish(*previous, now)
            previous = None
        if step.not_before_ns:
            now = max(now, visible)
        tokens, num_prefills, num_decodes = (
            sum(n for _, n, _ in step.chunks),
            len(step.chunks),
            len(step.decodes),
        )
        total, count = tokens + num_decodes, num_prefills + num_decodes
        pairs = sum(n * c + n * (n + 1) // 2 for _, n, c in step.chunks)
        mode = str(
            graph_modes(
                np.array([tokens]),
                np.array([num_decodes]),
                params.graph_mode,
                params.graph_capture_sizes,
            )[0]
        )
        kernel_ms = kernels.step_ms(
            Step(
                num_prefill_tokens=tokens,
                num_prefill_requests=num_prefills,
                prefill_attention_pairs=pairs,
                num_decode_requests=num_decodes,
                decode_kv_tokens=sum(c for _, c in step.decodes),
                num_outputs=count,
                padded_tokens=padded_tokens(total, params.graph_capture_sizes, mode),
            )
        )
        begin = now
        scheduled = begin + jittered(loop.schedule[0] + loop.schedule[1] * count)
        row: dict[str, Any] = {
            "step": number,
            "schedule_begin_ns": round(begin),
            "schedule_end_ns": round(scheduled),
            "num_prefill_tokens": tokens,
            "num_prefill_requests": num_prefills,
            "num_decode_requests": num_decodes,
            "kv_tokens": sum(n + c for _, n, c in step.chunks) + sum(c for _, c in step.decodes),
            "prefill_attention_pairs": pairs,
            "graph_mode": mode,
            "num_outputs": count,
            "client_first_ns": None,
            "client_last_ns": None,
        }
        batches += [
            {"step": number, "request_id": r, "num_scheduled_tokens": n, "num_computed_tokens": c}
            for r, n, c in step.chunks
        ]
        batches += [
            {
                "step": number,
                "request_id": r,
                "num_scheduled_tokens": 1,
                "num_computed_tokens": c - 1,
            }
            for r, c in step.decodes
        ]
        number += 1
        if params.async_scheduling:
            launched = scheduled + jittered(loop.launch_ms(mode, count))
            if mode == "full":
                ready = max(gpu_free, launched) + jittered(kernel_ms)
                mixed_row_ms = 0.0
            else:
                attention_ms = kernels.decode_attention_ms(
                    num_decodes, sum(c for _, c in step.decodes)
                )
                scale = loop.mixed_scale + loop.throttle_per_s * mixed_row_ms / 1e3
                mixed_ms = (
                    scale * (kernel_ms - attention_ms) + loop.mixed_decode_attention * attention_ms
                )
                ready = max(
                    launched, max(gpu_free, scheduled + loop.mixed_start * MS) + jittered(mixed_ms)
                )
                mixed_row_ms += kernel_ms
            gpu_free = ready
            now = finish(*previous, launched) if previous is not None else launched
            previous = (row, ready)
        else:
            now = finish(
                row,
                scheduled + jittered(0.5 + 1.2 * kernel_ms + loop.launch_per_request * count),
                scheduled,
            )
        rows.append(row)
        now += jittered(loop.gap[0] + loop.gap[1] * count)
    if previous is not None:
        now = finish(*previous, now)
    by_number = {row["step"]: row for row in rows}
    asked = []
    for request, (arrival, prompt, outputs) in requests.items():
        first = by_number[min(batch["step"] for batch in batches if batch["request_id"] == request)]
        asked.append(
            {
                "request_id": request,
                "arrival_ns": origin + arrival,
                "submit_ns": origin + arrival + MS // 100,
                "first_schedule_begin_ns": first["schedule_begin_ns"],
                "first_update_end_ns": first["update_end_ns"],
                "first_token_ns": first["client_first_ns"],
                "num_prefill_tokens": prompt,
                "num_decode_tokens": outputs,
                "num_in_flight": 0,
            }
        )
    return rows, asked, batches, round(now) + 50 * MS, number + 5


def write_bundle(root: Path, config: ExperimentConfig, params: EngineParams | None = None) -> Path:
    """The whole bundle of `config`'s target in `root`."""
    params = params or engine_params(config)
    kernels_dir = compute_dir(root, config.hardware.name, config.model.name)
    kernels_dir.mkdir(parents=True)
    host_dir(root).mkdir()
    mlp, attention, head = kernel_tables(params)
    steps, requests, batches = burst_tables(params, kernel_times(params))
    for table, frame, directory in (
        (MLP, mlp, kernels_dir),
        (ATTENTION, attention, kernels_dir),
        (HEAD, head, root),
    ):
        table.write(frame, directory)
    if (all_reduce := all_reduce_table(params)) is not None:
        ALL_REDUCE.write(all_reduce, root)
    for table, frame in (
        (BURST_STEPS, steps),
        (BURST_REQUESTS, requests),
        (BURST_BATCHES, batches),
    ):
        table.write(_integers(frame), host_dir(root))
    write_json(root / ENGINE_FILE, params)
    write_json(root / CONFIG_FILE, config)
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
    return root


def _integers(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype({name: "Int64" for name in frame.columns if name.endswith("_ns")})


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

"""Runs with a known answer: made from token times, in memory or as directories."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gpu_timing_assets.compare.gate.load import Run
from gpu_timing_assets.config.comparison import ComparisonPreset
from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.data_root import DataRoot
from gpu_timing_assets.core.engine_params import EngineParams, ModelDimensions
from gpu_timing_assets.core.files import write_json
from gpu_timing_assets.core.run import (
    RUN_META_FILE,
    ComparisonMeta,
    Lateness,
    Percentiles,
    RealRunMeta,
    SimRunMeta,
    read_complete_run,
)
from gpu_timing_assets.core.tables.run_tables import run_tables_from_token_times
from gpu_timing_assets.core.tables.schemas import (
    ENGINE_BATCHES,
    ENGINE_STEPS,
    REQUEST_METRICS,
    TOKEN_METRICS,
)
from gpu_timing_assets.core.workload import (
    WORKLOAD_META_FILE,
    TokenizerMeta,
    WorkloadMeta,
)

MS = 1_000_000
SHA = "5" * 64
DIMENSIONS = ModelDimensions(
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    vocab_size=1000,
    tie_word_embeddings=True,
    max_position_embeddings=4096,
)


def configuration(**comparison: Any) -> ExperimentConfig:
    """Only what a comparison reads: its own preset."""
    return ExperimentConfig.model_construct(
        comparison=ComparisonPreset(**{"bootstrap_resamples": 200, **comparison})
    )


def engine_params(**changes: Any) -> EngineParams:
    params = EngineParams(
        engine="vllm",
        engine_version="0.26.0",
        device_name="H100",
        model_dimensions=DIMENSIONS,
        dtype="bfloat16",
        max_model_len=4096,
        max_num_seqs=64,
        max_num_batched_tokens=2048,
        enable_chunked_prefill=True,
        async_scheduling=True,
        enable_prefix_caching=False,
        num_kv_blocks=1000,
        kv_block_size=16,
        attention_backend="FLASH_ATTN",
        graph_mode="FULL_AND_PIECEWISE",
        graph_capture_sizes=(1, 2, 4),
    )
    return params.model_copy(update=changes)


def real_meta(run_id: str, **changes: Any) -> RealRunMeta:
    return RealRunMeta(
        **{
            **_common(run_id),
            "params": engine_params(),
            "session": "s",
            "repeat": 0,
            "repeats": 1,
            "early_stopping": False,
            "warmup_requests": 0,
            "engine_start_s": 1.0,
            "replay_s": 1.0,
            "client_cpu_share": 0.1,
            **dict.fromkeys(("ttft_ms", "itl_ms", "e2e_ms"), Percentiles(p50=1, p90=1, p99=1)),
            "submission_lateness_ms": Lateness(p50=0, p90=0, p99=0, max=0),
            "num_requests": 1,
            "num_failed": 0,
            "num_tokens": 1,
            "tokens_per_s": 1.0,
            **changes,
        }
    )


def sim_meta(run_id: str, **changes: Any) -> SimRunMeta:
    return SimRunMeta(
        **{
            **_common(run_id),
            "params": engine_params(),
            "simulator": "vidur",
            "predictor": "engine_loop",
            "wall_s": 1.0,
            "num_tokens": 1,
            "simulated_s": 1.0,
            **changes,
        }
    )


def comparison_meta(run_id: str, **changes: Any) -> ComparisonMeta:
    return ComparisonMeta(
        **{
            **_common(run_id),
            "overridden": (),
            "listed_mismatches": (),
            "notes": (),
            "completeness": (),
            "host_time_ratio": {},
            "confidence_pct": 95.0,
            **changes,
        }
    )


def _common(run_id: str) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "model": "tiny",
        "hardware": "h100",
        "backend": "vllm",
        "workload_id": "chat",
        "workload_sha256": SHA,
        "started_at": "2026-01-01T00:00:00Z",
        "ended_at": "2026-01-01T00:01:00Z",
    }


def meta_of(run_id: str, run_type: str, **changes: Any) -> RealRunMeta | SimRunMeta:
    return (real_meta if run_type == "real" else sim_meta)(run_id, **changes)


def tables(
    arrival_ns: Sequence[int],
    token_times_ns: Sequence[Sequence[int]],
    planned: Sequence[int] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Request and token tables; a request without token times failed. `planned` are the output
    tokens asked for.
    """
    counts = [len(times) for times in token_times_ns]
    lengths = pd.DataFrame(
        {
            "request_id": np.arange(len(counts)),
            "num_prefill_tokens": np.arange(len(counts)) + 8,
            "num_decode_tokens": planned
            if planned is not None
            else [max(count, 1) for count in counts],
        }
    )
    owner = np.repeat(np.arange(len(counts)), counts)
    times = np.concatenate(
        [np.asarray(times, dtype=np.int64) for times in token_times_ns]
        or [np.zeros(0, dtype=np.int64)]
    )
    requests, tokens = run_tables_from_token_times(
        lengths, np.asarray(arrival_ns, dtype=np.int64), owner, times
    )
    return requests, tokens


def run_in_memory(
    label: str,
    arrival_ns: Sequence[int],
    token_times_ns: Sequence[Sequence[int]],
    *,
    run_type: str = "real",
    planned: Sequence[int] | None = None,
    **changes: Any,
) -> Run:
    requests, tokens = tables(arrival_ns, token_times_ns, planned)
    meta = meta_of(label, run_type, **changes)
    tokens = tokens[["request_id", "token_index", "token_time_ns"]]
    return Run(label, Path(label), meta, requests, tokens, None, None)


def write_run(
    directory: Path,
    arrival_ns: Sequence[int],
    token_times_ns: Sequence[Sequence[int]],
    *,
    run_type: str = "real",
    planned: Sequence[int] | None = None,
    with_steps: bool = True,
    **changes: Any,
) -> Path:
    """A run's directory. Its steps are the moments at which tokens came, its batches the requests
    that got one then.
    """
    requests, tokens = tables(arrival_ns, token_times_ns, planned)
    directory.mkdir(parents=True)
    REQUEST_METRICS.write(requests, directory)
    TOKEN_METRICS.write(tokens, directory)
    if with_steps:
        step = np.unique(tokens["token_time_ns"], return_inverse=True)[1]
        batches = pd.DataFrame(
            {
                "step": step,
                "request_id": tokens["request_id"],
                "num_scheduled_tokens": 1,
                # the prompt was computed before
                "num_computed_tokens": tokens["token_index"] + tokens["request_id"] + 8 - 1,
            }
        )
        batches = batches.sort_values(["step", "request_id"])
        ENGINE_BATCHES.write(
            batches.drop_duplicates(["step", "request_id"], keep="last"), directory
        )
        results = np.unique(tokens["token_time_ns"])
        ENGINE_STEPS.write(
            pd.DataFrame(
                {
                    "step": np.arange(len(results)),
                    "schedule_begin_ns": results - MS,
                    "schedule_end_ns": results - MS // 2,
                    "result_ns": results,
                    "num_prefill_tokens": 0,
                    "num_prefill_requests": 0,
                    "num_decode_requests": np.bincount(step),
                    "kv_tokens": 0,
                    "graph_mode": "full",
                }
            ),
            directory,
        )
    facts = {**facts_of(requests, run_type), **changes}
    write_json(directory / RUN_META_FILE, meta_of(directory.name, run_type, **facts))
    return directory


def facts_of(requests: pd.DataFrame, run_type: str) -> dict[str, Any]:
    """What a run's metadata say of its tables."""
    num_tokens = int(requests["num_decode_tokens_actual"].sum())
    if run_type == "simulated":
        simulated_s = float(requests["completion_time_ns"].fillna(0).max()) / 1e9
        return {"num_tokens": num_tokens, "simulated_s": simulated_s}
    num_failed = int((requests["status"] == "error").sum())
    return {"num_tokens": num_tokens, "num_requests": len(requests), "num_failed": num_failed}


def forget_token_times(directory: Path) -> Path:
    """Make of a simulation one that knows each request's first and last token alone."""
    (directory / TOKEN_METRICS.file).unlink()
    meta = read_complete_run(directory, SimRunMeta)
    write_json(directory / RUN_META_FILE, meta.model_copy(update={"gives": ()}))
    return directory


def write_workload(data: DataRoot, workload_id: str = "chat", sha256: str = SHA) -> None:
    directory = data.workload_dir(workload_id)
    directory.mkdir(parents=True, exist_ok=True)
    write_json(
        directory / WORKLOAD_META_FILE,
        WorkloadMeta(
            workload_id=workload_id,
            workload_sha256=sha256,
            num_requests=1,
            num_prefill_tokens=1,
            num_decode_tokens=1,
            longest_request_tokens=2,
            duration_ns=1,
            mean_rate_per_s=None,
            seed=0,
            tokenizer=TokenizerMeta(name="t", sha256="0", base_vocab_size=1),
            source={},
            config_sha256="0",
        ),
    )


def served(
    requests: int = 40,
    seed: int = 0,
    jitter: float = 0.1,
    jitter_seed: int = 0,
) -> tuple[list[int], list[list[int]]]:
    """`(arrivals, token times)` of a plausible run: one workload per `seed`, its timing varied by
    `jitter_seed`.
    """
    workload, noise = np.random.default_rng(seed), np.random.default_rng(1000 + jitter_seed)
    arrivals = np.cumsum(workload.exponential(30 * MS, requests)).astype(int)
    counts = workload.integers(1, 30, requests)
    times = []
    for arrival, count in zip(arrivals, counts, strict=True):
        ttft = 20 * MS * noise.gamma(1 / jitter**2, jitter**2)
        gaps = 5 * MS * noise.gamma(1 / jitter**2, jitter**2, count - 1)
        times.append((arrival + np.cumsum(np.concatenate([[ttft], gaps]))).astype(int).tolist())
    return arrivals.tolist(), times


def scaled(
    arrivals: Sequence[int], times: Sequence[Sequence[int]], factor: float
) -> list[list[int]]:
    """Every latency since arrival times `factor`."""
    return [
        [round(arrival + (time - arrival) * factor) for time in row]
        for arrival, row in zip(arrivals, times, strict=True)
    ]


def shifted(times: Sequence[Sequence[int]], shift_ns: int) -> list[list[int]]:
    return [[time + shift_ns for time in row] for row in times]

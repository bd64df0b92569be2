"""A profiling bundle on disk: its files, its tables and its metadata.

compute/<hardware>/<model>/   mlp.csv and attention.csv: kernels, in the schema of Vidur 0.0.26, ms
head.csv                      lm_head and sampler by number of requests, ms
host/                         burst_steps.csv and burst_requests.csv: the engine under bursts, ns
cpu_overheads.csv             the same in the schema of Vidur's CPU-overhead profiler, ms
engine.json                   what the engine resolved (EngineParams)
bundle_meta.json, run_meta.json, config.json
"""

from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field

from gpu_timing_assets.core.engine_params import ModelDimensions
from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.metadata import SCHEMA_VERSION, Metadata
from gpu_timing_assets.core.tables import Column, Table

ENGINE_FILE = "engine.json"
LAYER_OPERATORS = (
    "attn_pre_proj",
    "attn_post_proj",
    "mlp_up_proj",
    "mlp_down_proj",
    "mlp_act",
    "input_layernorm",
    "post_attention_layernorm",
    "attn_rope",
    "add",
    "add_rms_norm",
    "qk_norm",
    "embedding",
)
STATISTICS = ("min", "max", "mean", "median", "std")


def _time_columns(operators: tuple[str, ...], *, nullable: bool = False) -> tuple[Column, ...]:
    return tuple(
        Column(f"time_stats.{operator}.{statistic}", "float", nullable)
        for operator in operators
        for statistic in STATISTICS
    )


MLP = Table(
    "mlp.csv",
    (
        *_time_columns(LAYER_OPERATORS),
        Column("n_head"),
        Column("n_kv_head"),
        Column("n_embd"),
        Column("n_expanded_embd"),
        Column("vocab_size"),
        Column("use_gated_mlp", "text"),
        Column("num_tokens", minimum=1),
        Column("num_tensor_parallel_workers"),
    ),
)

ATTENTION = Table(
    "attention.csv",
    (
        *_time_columns(("attn_prefill", "attn_decode", "attn_kv_cache_save"), nullable=True),
        Column("n_embd"),
        Column("n_q_head"),
        Column("n_kv_head"),
        Column("block_size"),
        Column("num_tensor_parallel_workers"),
        Column("max_model_len"),
        Column("batch_size", minimum=1),
        Column("prefill_chunk_size"),
        Column("kv_cache_size"),
        Column("is_prefill", "text"),
        Column("attention_backend", "text"),
    ),
)

HEAD = Table(
    "head.csv", (*_time_columns(("lm_head", "sampler")), Column("num_requests", minimum=1))
)

BURST_STEPS = Table(
    "burst_steps.csv",
    (
        Column("burst"),
        Column("kind", "text"),
        Column("step"),
        Column("schedule_begin_ns"),
        Column("schedule_end_ns"),
        Column("update_begin_ns"),
        Column("update_end_ns"),
        Column("num_prefill_tokens"),
        Column("num_prefill_requests"),
        Column("num_decode_requests"),
        Column("kv_tokens"),
        Column("prefill_attention_pairs"),
        Column("graph_mode", "text"),
        Column("num_outputs"),
        Column("client_first_ns", nullable=True),
        Column("client_last_ns", nullable=True),
    ),
)

BURST_REQUESTS = Table(
    "burst_requests.csv",
    (
        Column("burst"),
        Column("kind", "text"),
        Column("request_id"),
        Column("arrival_ns"),
        Column("submit_ns"),
        Column("first_schedule_begin_ns"),
        Column("first_update_end_ns"),
        Column("first_token_ns"),
        Column("num_prefill_tokens"),
        Column("num_decode_tokens"),
        Column("num_in_flight"),
    ),
)

BURST_BATCHES = Table(
    "burst_batches.csv",
    (
        Column("burst"),
        Column("step"),
        Column("request_id"),
        Column("num_scheduled_tokens", minimum=1),
        Column("num_computed_tokens"),
    ),
)


class BundleMeta(Metadata):
    """What a bundle measured, how well, and how long that took (`bundle_meta.json`).

    `quality` maps a check's name to `{"passed": bool, "value": …, "bound": …, "what": text}`.
    `fitted_error_pct` is each operator's error on grid points that were left out of its fit, in per
    cent."""

    schema_version: int = SCHEMA_VERSION
    model: str
    hardware: str
    engine: str
    engine_version: str
    device_name: str
    tensor_parallel_size: int
    model_dimensions: ModelDimensions
    bundle_config_sha256: str
    profiling_preset: str
    measured_at: str
    max_num_tokens: int
    max_decode_batch_size: int
    max_context_tokens: int
    duration_s: dict[str, float]
    quality: dict[str, dict[str, Any]] = Field(default_factory=dict)
    fitted_error_pct: dict[str, dict[str, float]] = Field(default_factory=dict)

    @property
    def failed_checks(self) -> list[str]:
        return [
            f"{name}: {check['what']}"
            for name, check in self.quality.items()
            if not check["passed"]
        ]


def compute_dir(root: Path, hardware: str, model: str) -> Path:
    return root / "compute" / hardware / model


def host_dir(root: Path) -> Path:
    return root / "host"


def bundle_tables(root: Path, hardware: str, model: str) -> dict[Table, Path]:
    """Each table of a bundle with its directory."""
    kernels = compute_dir(root, hardware, model)
    return {
        MLP: kernels,
        ATTENTION: kernels,
        HEAD: root,
        BURST_STEPS: host_dir(root),
        BURST_REQUESTS: host_dir(root),
    }


def check_measurements(table: Table, directory: Path, frame: pd.DataFrame) -> None:
    """Raises `ArtifactError` naming file and row for an empty table, a missing or zero time or a
    duplicated row."""
    path = table.find(directory)
    if frame.empty:
        raise ArtifactError(f"{path}: there is no row in it")
    medians = [column.name for column in table.columns if column.name.endswith(".median")]
    for name in medians:
        zero = (frame[name] <= 0).to_numpy()
        if zero.any():
            raise ArtifactError(
                f"{path}, row {int(zero.argmax()) + 2}: {name} is zero: the profiler missed its "
                f"kernel"
            )
    if table.file == ATTENTION.file:
        # its time columns are nullable because a row is either a prefill's or a decode's; its own
        # time must be there
        prefill = frame["prefill_chunk_size"] > 0
        for name, mine in (
            ("attn_prefill", prefill),
            ("attn_decode", ~prefill),
            ("attn_kv_cache_save", prefill | True),
        ):
            empty = (mine & frame[f"time_stats.{name}.median"].isna()).to_numpy()
            if empty.any():
                raise ArtifactError(
                    f"{path}, row {int(empty.argmax()) + 2}: time_stats.{name}.median is empty"
                )
    keys = {
        "mlp.csv": ["num_tokens", "num_tensor_parallel_workers"],
        "head.csv": ["num_requests"],
        "attention.csv": [
            "batch_size",
            "prefill_chunk_size",
            "kv_cache_size",
            "num_tensor_parallel_workers",
        ],
        "burst_steps.csv": ["burst", "step"],
        "burst_requests.csv": ["burst", "request_id"],
    }[table.file]
    twice = frame.duplicated(keys).to_numpy()
    if twice.any():
        raise ArtifactError(
            f"{path}, row {int(twice.argmax()) + 2}: the same {', '.join(keys)} as a row before"
        )

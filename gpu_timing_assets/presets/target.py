"""The target of an experiment: a model, on a piece of hardware, under an engine with its settings."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from gpu_timing_assets.artifacts.layout import NAME_PATTERN, RESOURCES
from gpu_timing_assets.presets.base import Preset


class ModelPreset(Preset):
    """Which model is served.

    `card` is a directory with a Hugging Face `config.json`, relative to `resources/model_cards` unless absolute.
    Without `weights` the engine makes random ones in that shape, which take the same time as real ones as long as
    output lengths are forced.
    """

    name: str = Field(pattern=NAME_PATTERN)
    card: str
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    weights: str | None = None
    seed: int = 0

    @property
    def card_dir(self) -> Path:
        return RESOURCES / "model_cards" / self.card


class HardwarePreset(Preset):
    """What the engine runs on, and what is asked of a measurement there.

    `gpu_name` is a regular expression that the GPU's name must match. `vidur_device` and `vidur_network_device` name
    Vidur's device and node SKUs; Vidur has none for a CPU or an H200, so the nearest stands in: nothing of it enters
    the timing, which comes from the bundle. `max_lateness_p99_ms` is how late submissions may be before a real run is
    invalid. `repeats` is how often a real run replays its workload in one engine start.
    """

    name: str = Field(pattern=NAME_PATTERN)
    device: Literal["cpu", "cuda"]
    gpu_name: str | None = None
    gpu_index: int = Field(default=0, ge=0)
    kv_cache_bytes: int | None = Field(default=None, gt=0)
    vidur_device: str
    vidur_network_device: str
    max_lateness_p99_ms: float = Field(gt=0)
    repeats: int = Field(ge=1)
    omp_num_threads: int | None = Field(default=None, ge=1)


class BackendPreset(Preset):
    """The engine and its settings. `null` stands for the engine's own default, which `run_meta.json` then records.

    `transformers` serves one request at a time: a reference for a single request, not comparable under load. `null_engine`
    returns a token every `null_token_interval_ms` (0: at once): it measures the client, not an engine.
    `python` is the interpreter that runs the engine's process (this one if null): an absolute path.
    """

    name: Literal["vllm", "transformers", "null_engine"]
    python: str | None = None
    tensor_parallel_size: int = Field(default=1, ge=1)
    max_model_len: int | None = Field(default=None, ge=16)
    max_num_seqs: int = Field(default=256, ge=1)
    max_num_batched_tokens: int = Field(default=2048, ge=16)
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    enforce_eager: bool = False
    async_scheduling: bool | None = None
    enable_prefix_caching: bool = False
    early_stopping: bool = False
    record_steps: bool = True
    warmup_requests: int = Field(default=8, ge=0)
    warmup_prefill_tokens: int = Field(default=64, ge=1)
    warmup_decode_tokens: int = Field(default=16, ge=1)
    start_timeout_s: float = Field(default=600, gt=0)
    request_timeout_s: float = Field(default=600, gt=0)
    null_token_interval_ms: float = Field(default=0, ge=0)

    @field_validator("python")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        if value is not None and not Path(value).is_absolute():
            raise ValueError("must be an absolute path")
        return value

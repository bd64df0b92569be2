"""The target of an experiment: a model, on a piece of hardware, under an engine with its
settings."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from gpu_timing_assets.config.base import Preset
from gpu_timing_assets.core.data_root import NAME_PATTERN, RESOURCES
from gpu_timing_assets.core.machine import InstructionSet


class ModelPreset(Preset):
    """Which model is served, with which weights."""

    name: str = Field(pattern=NAME_PATTERN)
    """The preset's own."""

    card: str
    """A directory with a Hugging Face `config.json`, relative to `resources/model_cards` unless
    absolute."""

    dtype: Literal["bfloat16", "float16", "float32", "auto"] = "bfloat16"
    """Of the weights and the KV cache. `auto`: float32 on a CPU without instructions for bfloat16,
    which is several times slower there; bfloat16 elsewhere."""

    weights: str | None = None
    """A directory of weights. Without, the engine makes random ones in the card's shape, which take
    the same time as real ones as long as output lengths are forced."""

    seed: int = 0
    """The engine's, of random weights and sampling."""

    @property
    def card_dir(self) -> Path:
        return RESOURCES / "model_cards" / self.card


class HardwarePreset(Preset):
    """What the engine runs on, and what is asked of a measurement there.

    Vidur has no device or node SKU for a CPU or an H200, so the nearest stands in: nothing of it
    enters the timing, which comes from the bundle."""

    name: str = Field(pattern=NAME_PATTERN)
    """The preset's own."""

    device: Literal["cpu", "cuda"]
    """What torch calls it."""

    gpu_name: str | None = None
    """A regular expression that the GPU's name must match."""

    gpu_index: int = Field(default=0, ge=0)
    """Which GPU of those that are visible."""

    kv_cache_bytes: int | None = Field(default=None, gt=0)
    """Size of the KV cache; null: a share of the memory (`backend.gpu_memory_utilization`)."""

    vidur_device: str
    """Vidur's device SKU."""

    vidur_network_device: str
    """Vidur's node SKU."""

    max_lateness_p99_ms: float = Field(gt=0)
    """How late submissions may be before a real run is invalid."""

    repeats: int = Field(ge=1)
    """How often a real run replays its workload in one engine start."""

    omp_num_threads: int | None = Field(default=None, ge=1)
    """OpenMP threads of the engine; null: torch's own default."""

    cpu_instruction_set: InstructionSet | None = None
    """The most that a CPU engine may use of the CPU's vector instructions, to try here what a
    lesser CPU does; null: all."""

    busy_timeout_s: float = Field(default=600, ge=0)
    """Seconds to wait for another process that holds the device."""


class BackendPreset(Preset):
    """The engine and its settings. `null` stands for the engine's own default, which
    `run_meta.json` then records.

    `transformers` serves one request at a time: a reference for a single request, not comparable
    under load. `null_engine` measures the client, not an engine."""

    name: Literal["vllm", "transformers", "null_engine"]
    """Which engine."""

    python: str | None = None
    """The interpreter that runs the engine's process, an absolute path; null: this one."""

    tensor_parallel_size: int = Field(default=1, ge=1)
    """GPUs that share each layer."""

    max_model_len: int | None = Field(default=None, ge=16)
    """Most tokens of a request, prompt and output together; null: the model's."""

    max_num_seqs: int = Field(default=256, ge=1)
    """Most requests in a step."""

    max_num_batched_tokens: int = Field(default=2048, ge=16)
    """Most tokens in a step: longer prefills are chunked."""

    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    """Share of the GPU's memory that the engine may take."""

    enforce_eager: bool = False
    """Neither torch.compile nor CUDA graphs."""

    async_scheduling: bool | None = None
    """Whether the next step is scheduled while this one runs."""

    enable_prefix_caching: bool = False
    """Reuse the KV blocks of equal prompt beginnings."""

    early_stopping: bool = False
    """Let the model end a request before its forced length: its runs then compare with no
    simulation."""

    record_steps: bool = True
    """Write what each engine step held and when it ended; the comparison attributes errors by
    it."""

    warmup_requests: int = Field(default=8, ge=0)
    """Requests before the first replay, which count nowhere."""

    warmup_prefill_tokens: int = Field(default=64, ge=1)
    """Prompt tokens of each of those."""

    warmup_decode_tokens: int = Field(default=16, ge=1)
    """Output tokens of each of those."""

    start_timeout_s: float = Field(default=600, gt=0)
    """After which an engine that has not started is ended."""

    request_timeout_s: float = Field(default=600, gt=0)
    """After which a request that has not ended counts as failed."""

    null_token_interval_ms: float = Field(default=0, ge=0)
    """Of `null_engine`: the time from one token to the next (0: at once)."""

    @field_validator("python")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        if value is not None and not Path(value).is_absolute():
            raise ValueError("must be an absolute path")
        return value

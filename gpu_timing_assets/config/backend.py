"""The engine that serves, and its settings: what all engines share; each brings its own preset."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import Field, field_validator

from gpu_timing_assets.config.base import Preset
from gpu_timing_assets.config.plugins import OneOf, Plugins


class BackendPreset(Preset):
    """The engine and its settings. `null`: the engine's own default, which the run records."""

    # what a profile does not depend on: it then serves with other values of these too
    not_profiled: ClassVar[frozenset[str]] = frozenset(
        {
            *("early_stopping", "record_steps", "observe_steps", "probe_s", "python"),
            *("start_timeout_s", "request_timeout_s"),
            *("warmup_requests", "warmup_prefill_tokens", "warmup_decode_tokens"),
        }
    )

    name: str
    """Name of the engine."""

    python: str | None = None
    """Absolute path of the interpreter that runs the engine's process; null: this one."""

    tensor_parallel_size: int = Field(default=1, ge=1)
    """Number of GPUs that share each layer."""

    max_model_len: int | None = Field(default=None, ge=16)
    """Longest request in tokens, prompt and output together; null: the model's limit."""

    max_num_seqs: int = Field(default=256, ge=1)
    """Largest number of requests in a step."""

    max_num_batched_tokens: int = Field(default=2048, ge=16)
    """Token budget of a step: longer prefills are chunked."""

    early_stopping: bool = False
    """Let the model end a request before its forced length; such a run compares with no
    simulation."""

    record_steps: bool = True
    """Record what each engine step held and when it ended; the comparison attributes errors by
    it."""

    observe_steps: bool = False
    """Observe when each step of a replay ran on the host and on the GPU, by CUDA events in the
    engine's worker; profiling always does."""

    probe_host: bool = True
    """Measure the host's speed by a fixed probe of some seconds, before and after each replay and
    in a profile, where the engine records its steps."""

    probe_s: float = Field(default=4, ge=0)
    """Seconds that a probe goes on for at least: a host changes its pace within one."""

    warmup_requests: int = Field(default=8, ge=0)
    """Number of requests before the first replay, which count nowhere."""

    warmup_prefill_tokens: int = Field(default=64, ge=1)
    """Prompt tokens of a warm-up request."""

    warmup_decode_tokens: int = Field(default=16, ge=1)
    """Output tokens of a warm-up request."""

    start_timeout_s: float = Field(default=600, gt=0)
    """Seconds after which an engine that has not started is ended."""

    request_timeout_s: float = Field(default=600, gt=0)
    """Seconds after which a request that has not ended counts as failed."""

    @field_validator("python")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        if value is not None and not Path(value).is_absolute():
            raise ValueError("must be an absolute path")
        return value

    def profiled_settings(self) -> dict[str, Any]:
        """The settings that a profile and what is simulated from it must share, under their names
        in `EngineParams`; those left to the engine are left out.
        """
        return {
            "tensor_parallel_size": self.tensor_parallel_size,
            "max_num_seqs": self.max_num_seqs,
            "max_num_batched_tokens": self.max_num_batched_tokens,
            **({"max_model_len": self.max_model_len} if self.max_model_len else {}),
        }


class EnginePlugin(Protocol):
    """What the configuration needs of an engine's plug-in (see `engines.base.EnginePlugin`)."""

    @property
    def name(self) -> str: ...
    @property
    def preset(self) -> type[BackendPreset]: ...


ENGINES: Plugins[EnginePlugin] = Plugins(
    "engine", "gpu_timing_assets.engines", lambda plugin: plugin.name
)


def backend_presets() -> Mapping[str, type[BackendPreset]]:
    return {name: plugin.preset for name, plugin in ENGINES.all().items()}


Backend = Annotated[BackendPreset, OneOf(backend_presets, "name")]

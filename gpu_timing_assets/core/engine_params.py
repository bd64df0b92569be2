"""Every resolved setting of an engine, named alike on both sides: `params` in `run_meta.json`."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gpu_timing_assets.core.files import Metadata

# what a comparison holds against each other must be there: two empty sides would be equal
NonEmpty = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1, lt=2**63)]

# words in the name of a setting that may differ from start to start under one configuration:
# where things lie and who talks to whom, how long is waited, what fits into the memory left
_PER_START = re.compile(
    r"(?:^|[._])(?:addr|dir|host|ids?|ips?|log(?:ging|s)?|names?|paths?|pid|ports?|root|timeout|url"
    r"|uuid|visible_devices|num_(?:gpu|cpu|kv)_blocks|kv_cache_(?:size_tokens|max_concurrency)"
    r"|(?:available_)?kv_cache_memory_bytes)(?:$|[._])",
    re.IGNORECASE,
)


class RopeScaling(Metadata):
    """YaRN, by which a model reaches further than it was trained for."""

    rope_type: Literal["yarn"]
    factor: Annotated[float, Field(ge=1, le=1e6, allow_inf_nan=False)]
    original_max_position_embeddings: Count

    @property
    def max_positions(self) -> int:
        """In tokens."""
        return round(self.factor * self.original_max_position_embeddings)


class ModelDimensions(Metadata):
    """What of a model decides its timing and its context, from its Hugging Face `config.json`.

    `rope_scaling` is null without one, and in data from before it was recorded.
    """

    hidden_size: Count
    intermediate_size: Count
    num_hidden_layers: Count
    num_attention_heads: Count
    num_key_value_heads: Count
    head_dim: Count
    vocab_size: Count
    tie_word_embeddings: bool
    max_position_embeddings: Count
    rope_scaling: RopeScaling | None = None

    @model_validator(mode="after")
    def _heads_share(self) -> "ModelDimensions":
        if self.num_attention_heads % self.num_key_value_heads:
            heads, kv_heads = self.num_attention_heads, self.num_key_value_heads
            raise ValueError(f"{heads} heads cannot share {kv_heads} KV heads evenly")
        return self

    @property
    def num_parameters(self) -> int:
        """Of the matrices; norms are left out."""
        heads = self.num_attention_heads + self.num_key_value_heads
        attention = self.hidden_size * self.head_dim * 2 * heads
        layer = attention + 3 * self.hidden_size * self.intermediate_size
        vocabulary = self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)
        return vocabulary + self.num_hidden_layers * layer


class EngineParams(Metadata):
    """What the engine resolved its settings to. A simulation carries those that it simulated.

    `graph_mode` is vLLM's `cudagraph_mode` (`NONE`, `FULL_AND_PIECEWISE`, …); `graph_capture_sizes`
    the batch sizes in tokens that were captured. `comparable_under_load` is false for a backend
    that serves one request at a time. `native_library` is the build of vLLM's CPU kernels that its
    platform chose (`_C_AVX2`), null where there is one only.

    `resolved`: every setting of the engine by its dotted name, as it stood once it had started.
    `environment`: the variables that the engine reads, with the value that it takes them for.
    """

    engine: NonEmpty
    engine_version: NonEmpty
    device_name: NonEmpty
    model_dimensions: ModelDimensions
    dtype: NonEmpty
    native_library: str | None = None
    tensor_parallel_size: Count = 1
    max_model_len: Count
    max_num_seqs: Count
    max_num_batched_tokens: Count
    enable_chunked_prefill: bool
    async_scheduling: bool
    enable_prefix_caching: bool
    num_kv_blocks: Annotated[int, Field(ge=0)]
    kv_block_size: Count
    kv_cache_dtype: NonEmpty = "auto"
    attention_backend: NonEmpty
    attention_backend_version: str | None = None
    graph_mode: NonEmpty
    graph_capture_sizes: tuple[Count, ...] = ()
    scheduling_policy: NonEmpty = "fcfs"
    comparable_under_load: bool = True
    other: dict[str, Any] = Field(default_factory=dict)
    resolved: dict[str, Any] = Field(default_factory=dict)
    environment: dict[str, str | None] = Field(default_factory=dict)

    def has_settings_of(self, other: "EngineParams") -> bool:
        """Whether both are starts of one configuration.

        What may differ between two such starts is no difference, nor is what one of them did not
        record: null, or all of `resolved` or `environment` in older data.
        """
        wide = {"resolved", "environment"}
        ours, theirs = (
            params.model_dump(mode="json", exclude={"num_kv_blocks", *wide}, exclude_none=True)
            for params in (self, other)
        )
        return ours == theirs and all(
            _lasting(getattr(self, name)) == _lasting(getattr(other, name))
            for name in wide
            if getattr(self, name) and getattr(other, name)
        )


def may_differ_between_starts(name: str, value: Any) -> bool:
    """Whether a setting of `resolved` or `environment` says nothing of the configuration."""
    return bool(_PER_START.search(name)) or (isinstance(value, str) and "/" in value)


def _lasting(settings: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in settings.items()
        if value is not None and not may_differ_between_starts(name, value)
    }

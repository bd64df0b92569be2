"""What a profiling bundle measures."""

from pydantic import Field

from gpu_timing_assets.presets.base import Preset


class ProfilingPreset(Preset):
    """The grids of the kernel timings and of the bursts through the real engine.

    `num_tokens` is the grid of the linears and norms; `decode_batch_sizes` × `decode_context_tokens` that of decode
    attention; `prefill_chunk_tokens` × `prefill_context_tokens` that of prefill attention. A burst grid drives the
    real engine: `burst_decode_batch_sizes` requests decode while prompts of `burst_prefill_tokens` arrive,
    `burst_repeats` times each. `repeats` timings are taken of each kernel; their median counts.
    """

    name: str
    num_tokens: tuple[int, ...] = Field(min_length=4)
    decode_batch_sizes: tuple[int, ...] = Field(min_length=3)
    decode_context_tokens: tuple[int, ...] = Field(min_length=3)
    prefill_chunk_tokens: tuple[int, ...] = Field(min_length=3)
    prefill_context_tokens: tuple[int, ...] = Field(min_length=2)
    repeats: int = Field(ge=3)
    warmup_repeats: int = Field(default=3, ge=1)
    burst_decode_batch_sizes: tuple[int, ...] = Field(min_length=3)
    burst_context_tokens: tuple[int, ...] = Field(min_length=1)
    burst_decode_tokens: int = Field(ge=8)
    burst_prefill_tokens: tuple[int, ...] = Field(min_length=3)
    burst_repeats: int = Field(ge=1)
    max_held_out_error_pct: float = Field(default=10.0, gt=0)
    max_spread_pct: float = Field(default=30.0, gt=0)

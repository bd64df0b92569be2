"""What a profiling bundle measures."""

from pydantic import Field

from gpu_timing_assets.presets.base import Preset


class ProfilingPreset(Preset):
    """The grids of the kernel timings and of the bursts through the real engine.

    `num_tokens` is the grid of the linears and norms, `num_requests` that of lm_head and sampler;
    `decode_batch_sizes` × `decode_context_tokens` that of decode attention (up to `max_kv_tokens` in all);
    `prefill_chunk_tokens` × `prefill_context_tokens` that of prefill attention. `repeats` timings are taken of each
    kernel; their median counts.

    Bursts drive the real engine: `burst_decode_batch_sizes` requests of `burst_context_tokens` decode together for
    `burst_decode_tokens` steps; then, `burst_repeats` times, one prompt of each of `burst_prefill_tokens` arrives while
    `burst_background_sizes` requests decode (0: while the engine is idle); then `storm_requests` requests of uniformly
    drawn lengths arrive at each of `storm_rates_per_s`.
    """

    name: str
    num_tokens: tuple[int, ...] = Field(min_length=4)
    num_requests: tuple[int, ...] = Field(min_length=3)
    decode_batch_sizes: tuple[int, ...] = Field(min_length=3)
    decode_context_tokens: tuple[int, ...] = Field(min_length=3)
    prefill_chunk_tokens: tuple[int, ...] = Field(min_length=3)
    prefill_context_tokens: tuple[int, ...] = Field(min_length=2)
    max_kv_tokens: int = Field(default=262144, ge=1024)
    repeats: int = Field(ge=3)
    warmup_repeats: int = Field(default=3, ge=1)
    burst_decode_batch_sizes: tuple[int, ...] = Field(min_length=3)
    burst_context_tokens: tuple[int, ...] = Field(min_length=1)
    burst_decode_tokens: int = Field(ge=8)
    burst_max_kv_tokens: int = Field(default=65536, ge=1024)
    burst_background_sizes: tuple[int, ...] = Field(min_length=2)
    burst_prefill_tokens: tuple[int, ...] = Field(min_length=3)
    burst_repeats: int = Field(ge=1)
    storm_rates_per_s: tuple[float, ...] = ()
    storm_requests: int = Field(default=60, ge=8)
    max_held_out_error_pct: float = Field(default=10.0, gt=0)
    max_spread_pct: float = Field(default=30.0, gt=0)

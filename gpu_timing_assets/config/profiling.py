"""What a profiling bundle measures."""

from pydantic import Field

from gpu_timing_assets.config.base import Preset


class ProfilingPreset(Preset):
    """The grids of the kernel timings and of the bursts through the real engine, and how good the
    bundle must be.

    Bursts: `burst_decode_batch_sizes` requests of `burst_context_tokens` decode together; then
    prompts arrive while others decode, and without a pause; then requests of uniformly drawn
    lengths arrive in storms.
    """

    name: str
    """The preset's own."""

    num_tokens: tuple[int, ...] = Field(min_length=4)
    """Tokens of a step at which linears and norms are timed."""

    num_requests: tuple[int, ...] = Field(min_length=3)
    """Requests of a step at which lm_head and sampler are timed."""

    decode_batch_sizes: tuple[int, ...] = Field(min_length=3)
    """Requests at which decode attention is timed, each with each of `decode_context_tokens`."""

    decode_context_tokens: tuple[int, ...] = Field(min_length=3)
    """KV tokens of a request at which decode attention is timed."""

    prefill_chunk_tokens: tuple[int, ...] = Field(min_length=3)
    """New tokens at which prefill attention is timed, each with each of
    `prefill_context_tokens`."""

    prefill_context_tokens: tuple[int, ...] = Field(min_length=2)
    """KV tokens before the chunk at which prefill attention is timed."""

    max_kv_tokens: int = Field(default=262144, ge=1024)
    """KV tokens in all up to which decode attention is timed."""

    repeats: int = Field(ge=3)
    """Timings of each kernel; their median counts."""

    warmup_repeats: int = Field(default=3, ge=1)
    """Runs of each kernel before it is timed."""

    burst_decode_batch_sizes: tuple[int, ...] = Field(min_length=3)
    """Requests that decode together through the real engine."""

    burst_context_tokens: tuple[int, ...] = Field(min_length=1)
    """Prompt tokens of those requests."""

    burst_decode_tokens: int = Field(ge=8)
    """Tokens that each of them decodes."""

    burst_max_kv_tokens: int = Field(default=65536, ge=1024)
    """KV tokens in all up to which bursts go."""

    burst_background_sizes: tuple[int, ...] = Field(min_length=2)
    """Requests that decode while a prompt arrives (0: it finds the engine idle)."""

    burst_prefill_tokens: tuple[int, ...] = Field(min_length=3)
    """Lengths of the prompts that arrive, one after the other."""

    burst_prefill_s: float = Field(default=2.0, ge=0)
    """Seconds of prefill without a pause, in each round."""

    burst_repeats: int = Field(ge=1)
    """Rounds, each with a prompt of each length and with its share of the other bursts: a host that
    is slow for a while is slow for all kinds."""

    storm_rates_per_s: tuple[float, ...] = ()
    """Rates at which `storm_requests` requests of uniformly drawn lengths arrive."""

    storm_requests: int = Field(default=60, ge=8)
    """Requests of each storm."""

    max_held_out_error_pct: float = Field(default=10.0, gt=0)
    """The bundle's quality fails above this median error of a kernel's fit on points that it has
    not seen."""

    max_spread_pct: float = Field(default=30.0, gt=0)
    """The bundle's quality fails above this median spread (standard deviation / median) of a
    kernel's repeats."""

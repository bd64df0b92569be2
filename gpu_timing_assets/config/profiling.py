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
    """Name of this preset."""

    num_tokens: tuple[int, ...] = Field(min_length=4)
    """Numbers of tokens in a step at which the linear layers and norms are timed."""

    num_requests: tuple[int, ...] = Field(min_length=3)
    """Numbers of requests in a step at which lm_head and the sampler are timed."""

    decode_batch_sizes: tuple[int, ...] = Field(min_length=3)
    """Numbers of requests at which decode attention is timed, each with each of
    `decode_context_tokens`."""

    decode_context_tokens: tuple[int, ...] = Field(min_length=3)
    """KV tokens of each request at which decode attention is timed."""

    prefill_chunk_tokens: tuple[int, ...] = Field(min_length=3)
    """New tokens of a prompt at which prefill attention is timed, each with each of
    `prefill_context_tokens`."""

    prefill_context_tokens: tuple[int, ...] = Field(min_length=2)
    """KV tokens before the new ones at which prefill attention is timed."""

    max_kv_tokens: int = Field(default=262144, ge=1024)
    """Largest number of KV tokens of all requests together at which decode attention is timed."""

    repeats: int = Field(ge=3)
    """Number of timings of each kernel, of which the median counts."""

    warmup_repeats: int = Field(default=3, ge=1)
    """Number of runs of each kernel before its first timing, which count nowhere."""

    burst_decode_batch_sizes: tuple[int, ...] = Field(min_length=3)
    """Numbers of requests that decode together through the real engine."""

    burst_context_tokens: tuple[int, ...] = Field(min_length=1)
    """Prompt tokens of each request of a decode burst."""

    burst_decode_tokens: int = Field(ge=8)
    """Output tokens of each request of a decode burst."""

    burst_max_kv_tokens: int = Field(default=65536, ge=1024)
    """Largest number of KV tokens of a burst's requests together."""

    burst_background_sizes: tuple[int, ...] = Field(min_length=2)
    """Numbers of requests that decode while a prompt arrives; 0: it finds the engine idle."""

    burst_prefill_tokens: tuple[int, ...] = Field(min_length=3)
    """Prompt tokens of the requests that arrive one after the other."""

    burst_prefill_s: float = Field(default=2.0, ge=0)
    """Seconds of prefill without a pause in each repeat, through which a GPU clocks down."""

    burst_repeats: int = Field(ge=1)
    """Number of repeats, each with a prompt of each length and its share of the other bursts, so
    that a host that is slow for a while is slow for all kinds."""

    storm_rates_per_s: tuple[float, ...] = ()
    """Requests per second of each storm, whose lengths are drawn uniformly."""

    storm_requests: int = Field(default=60, ge=8)
    """Number of requests of each storm."""

    max_held_out_error_pct: float = Field(default=10.0, gt=0)
    """Median error in per cent of a kernel's fit on points left out of it, above which the bundle's
    quality check fails."""

    max_spread_pct: float = Field(default=30.0, gt=0)
    """Median spread in per cent (standard deviation / median) of a kernel's timings, above which
    the bundle's quality check fails."""

    max_self_test_error_pct: float = Field(default=25.0, gt=0)
    """Largest error in per cent of a simulation of the bursts that no fit has seen, above which the
    bundle is refused."""

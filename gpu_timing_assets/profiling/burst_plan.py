"""Controlled bursts: what is sent to the real engine to learn its host time, pipeline and edges.

None of it is a workload that is judged: batch sizes and lengths are a grid, or drawn uniformly.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gpu_timing_assets.artifacts.engine_params import EngineParams
from gpu_timing_assets.engine.replay import PlannedRequest
from gpu_timing_assets.presets.profiling import ProfilingPreset

BACKGROUND_PROMPT_TOKENS = 32
INJECTED_DECODE_TOKENS = 3


@dataclass(frozen=True)
class Burst:
    """One burst; `kind` is `decode`, `idle`, `inject`, `prefill` or `storm`."""

    kind: str
    requests: tuple[PlannedRequest, ...]


def decode_bursts(grid: ProfilingPreset, params: EngineParams) -> Iterator[Burst]:
    """Batches that decode together: the pace of decode steps by batch size and context."""
    for context in grid.burst_context_tokens:
        for batch_size in grid.burst_decode_batch_sizes:
            end = context + grid.burst_decode_tokens
            if batch_size <= params.max_num_seqs and end <= params.max_model_len and batch_size * end <= grid.burst_max_kv_tokens:
                yield Burst("decode", tuple(_request(i, 0, context, grid.burst_decode_tokens) for i in range(batch_size)))


def idle_burst(grid: ProfilingPreset, params: EngineParams, seed: int) -> Burst:
    """One prompt at a time on an engine that has nothing else to do: edges, and launches without a step before them."""
    rng = np.random.default_rng([seed, 1])
    lengths = rng.permutation([n for n in grid.burst_prefill_tokens if n + INJECTED_DECODE_TOKENS <= params.max_model_len])
    gaps_ns = (rng.uniform(0.15, 0.25, len(lengths)) * 1e9).astype(int)
    return Burst(
        "idle",
        tuple(
            _request(i, int(at), int(n), INJECTED_DECODE_TOKENS)
            for i, (at, n) in enumerate(zip(np.cumsum(gaps_ns), lengths, strict=True))
        ),
    )


def injection_bursts(
    grid: ProfilingPreset,
    params: EngineParams,
    decode_step_ms: dict[int, float],
    prefill_ms: dict[int, float],
    seed: int,
    repeat: int,
) -> Iterator[Burst]:
    """A prompt of each length, one by one, into `background` requests that decode; another order in each `repeat`.

    `decode_step_ms`: batch size → time of a decode step; `prefill_ms`: prompt tokens → TTFT on an idle engine; both
    as measured by the bursts before. They set how long the background decodes and how far the prompts lie apart.
    """
    sizes = sorted(decode_step_ms)
    known = sorted(prefill_ms)
    for background in grid.burst_background_sizes:
        if background == 0 or background >= params.max_num_seqs:
            continue
        step_ms = float(np.interp(background, sizes, [decode_step_ms[size] for size in sizes]))
        rng = np.random.default_rng([seed, 2, background, repeat])
        lengths = rng.permutation([n for n in grid.burst_prefill_tokens if n + INJECTED_DECODE_TOKENS <= params.max_model_len])
        ttft_ms = np.interp(lengths, known, [prefill_ms[n] for n in known])
        begin_ms = 60 + background * BACKGROUND_PROMPT_TOKENS / params.max_num_batched_tokens * max(prefill_ms.values())
        gaps_ms = 1.2 * ttft_ms + 4 * step_ms + rng.uniform(0, 4 * step_ms, len(lengths))
        at_ms = begin_ms + np.cumsum(gaps_ms) - gaps_ms[0]
        # a mixed step yields one token to the background too
        steps = int((at_ms[-1] + gaps_ms[-1] - len(lengths) * float(np.mean(ttft_ms)) / 2) / step_ms) + 8
        steps = min(
            steps,
            params.max_model_len - BACKGROUND_PROMPT_TOKENS - 1,
            params.num_kv_blocks * params.kv_block_size // (2 * background),
        )
        yield Burst(
            "inject",
            tuple(
                [_request(i, 0, BACKGROUND_PROMPT_TOKENS, steps) for i in range(background)]
                + [
                    _request(background + i, int(at * 1e6), int(n), INJECTED_DECODE_TOKENS)
                    for i, (at, n) in enumerate(zip(at_ms, lengths, strict=True))
                ]
            ),
        )


def prefill_bursts(grid: ProfilingPreset, params: EngineParams, prefill_ms: dict[int, float]) -> Iterator[Burst]:
    """Prompts that wait for each other: `burst_prefill_s` of prefill without a pause, through which a GPU clocks down."""
    length = max(n for n in prefill_ms if n + 1 <= params.max_model_len)
    fit_in_cache = params.num_kv_blocks * params.kv_block_size // (2 * (length + 1))
    count = min(int(np.ceil(grid.burst_prefill_s * 1e3 / prefill_ms[length])), fit_in_cache)
    if count:
        yield Burst("prefill", tuple(_request(i, 0, length, 1) for i in range(count)))


def storm_bursts(grid: ProfilingPreset, params: EngineParams, seed: int) -> Iterator[Burst]:
    """Random arrivals of uniformly drawn lengths: how launches spread when steps of all kinds follow each other."""
    for number, rate in enumerate(grid.storm_rates_per_s):
        rng = np.random.default_rng([seed, 3, number])
        arrivals = np.cumsum(rng.exponential(1e9 / rate, grid.storm_requests)).astype(int)
        longest = min(grid.burst_prefill_tokens[-1] // 2, params.max_model_len // 2)
        prompts = rng.integers(16, max(17, longest), grid.storm_requests)
        outputs = rng.integers(8, min(160, params.max_model_len // 4), grid.storm_requests)
        yield Burst(
            "storm",
            tuple(
                _request(i, int(at), int(p), int(o)) for i, (at, p, o) in enumerate(zip(arrivals, prompts, outputs, strict=True))
            ),
        )


def _request(index: int, arrival_ns: int, prompt_tokens: int, output_tokens: int) -> PlannedRequest:
    prompt = [1000 + (index * 7919 + position * 31) % 100_000 for position in range(prompt_tokens)]
    return PlannedRequest(str(index), arrival_ns, prompt, output_tokens)

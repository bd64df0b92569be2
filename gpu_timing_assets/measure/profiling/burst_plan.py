"""Controlled bursts: what is sent to the real engine to learn its host, pipeline and client.

None of it is a workload that is judged: batch sizes and lengths are a grid, or drawn uniformly.
None of it is sent at a fixed time after something that takes as long as the machine is slow: it
waits for that, or its rate follows from what was measured.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gpu_timing_assets.config.profiling import ProfilingPreset
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.engines.replay import PlannedRequest

BACKGROUND_PROMPT_TOKENS = 32
INJECTED_DECODE_TOKENS = 3
INJECTION_PAUSE_STEPS = (4.0, 8.0)
# the background decodes for this many times the steps that the injected prompts are planned to take
BACKGROUND_RESERVE = 1.6
HELD_OUT_SHARE = 0.2


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
            if (
                batch_size <= params.max_num_seqs
                and end <= params.max_model_len
                and batch_size * end <= grid.burst_max_kv_tokens
            ):
                tokens = grid.burst_decode_tokens
                requests = (_request(i, 0, context, tokens) for i in range(batch_size))
                yield Burst("decode", tuple(requests))


def idle_burst(grid: ProfilingPreset, params: EngineParams, seed: int) -> Burst:
    """One prompt at a time on an idle engine: client latency, launches without a step before them.

    Each is sent a while after the one before it was served, however long that takes here.
    """
    rng = np.random.default_rng([seed, 1])
    lengths = rng.permutation(_injected_lengths(grid, params))
    pauses_ns = (rng.uniform(0.1, 0.2, len(lengths)) * 1e9).astype(int)
    return Burst("idle", tuple(_chain(0, pauses_ns, lengths)))


def injection_bursts(
    grid: ProfilingPreset,
    params: EngineParams,
    decode_step_ms: Mapping[int, float],
    seed: int,
    repeat: int,
) -> Iterator[Burst]:
    """A prompt of each length, one by one, into `background` requests that decode; another order in
    each `repeat`.

    The first is sent when a request of one token that came with the background is served, each
    other one some steps after the one before it. A mixed step gives every request of the background
    a token as a decode step does, so that how many it has to make follows from the number of steps,
    not from how long one takes. `decode_step_ms`: batch size → time of a decode step as the bursts
    before measured it; it turns the steps between two prompts into a time.
    """
    sizes = sorted(decode_step_ms)
    for background in grid.burst_background_sizes:
        if background == 0 or background >= params.max_num_seqs - 1:
            continue
        step_ms = float(np.interp(background, sizes, [decode_step_ms[size] for size in sizes]))
        rng = np.random.default_rng([seed, 2, background, repeat])
        lengths = rng.permutation(_injected_lengths(grid, params))
        pause_steps = rng.uniform(*INJECTION_PAUSE_STEPS, len(lengths))
        chunks = np.ceil(lengths / max(1, params.max_num_batched_tokens - background))
        planned_steps = float((pause_steps + chunks + INJECTED_DECODE_TOKENS).sum())
        steps = min(
            int(BACKGROUND_RESERVE * planned_steps),
            params.max_model_len - BACKGROUND_PROMPT_TOKENS - 1,
            params.num_kv_blocks * params.kv_block_size // (2 * background),
        )
        decoding = [_request(i, 0, BACKGROUND_PROMPT_TOKENS, steps) for i in range(background)]
        first = _request(background, 0, BACKGROUND_PROMPT_TOKENS, 1)
        pauses_ns = (pause_steps * step_ms * 1e6).astype(int)
        injected = _chain(background + 1, pauses_ns, lengths, after=background)
        yield Burst("inject", (*decoding, first, *injected))


def prefill_bursts(
    grid: ProfilingPreset, params: EngineParams, prefill_ms: Mapping[int, float]
) -> Iterator[Burst]:
    """`burst_prefill_s` of prefill without a pause, through which a GPU clocks down."""
    length = max(n for n in prefill_ms if n + 1 <= params.max_model_len)
    fit_in_cache = params.num_kv_blocks * params.kv_block_size // (2 * (length + 1))
    count = min(int(np.ceil(grid.burst_prefill_s * 1e3 / prefill_ms[length])), fit_in_cache)
    if count:
        yield Burst("prefill", tuple(_request(i, 0, length, 1) for i in range(count)))


def storm_bursts(
    grid: ProfilingPreset,
    params: EngineParams,
    decode_step_ms: Mapping[int, float],
    prefill_ms: Mapping[int, float],
    seed: int,
    repeat: int,
) -> Iterator[Burst]:
    """One storm at each of the preset's rates, others in each `repeat`: random arrivals of
    uniformly drawn lengths, where steps of all kinds follow each other as in a workload.

    At most at what the engine can serve: a queue without end would show one kind of step alone.
    """
    longest = max(17, min(grid.burst_prefill_tokens[-1] // 2, params.max_model_len // 2))
    most_outputs = min(160, params.max_model_len // 4)
    known = sorted(prefill_ms)
    prompt_ms = float(np.interp(longest / 2, known, [prefill_ms[n] for n in known]))
    token_ms = min(step_ms / batch_size for batch_size, step_ms in decode_step_ms.items())
    served_per_s = 1e3 / (prompt_ms + token_ms * most_outputs / 2)
    for number, rate in enumerate(grid.storm_rates_per_s):
        rng = np.random.default_rng([seed, 3, number, repeat])
        mean_ns = 1e9 / min(rate, served_per_s)
        arrivals = np.cumsum(rng.exponential(mean_ns, grid.storm_requests)).astype(int)
        prompts = rng.integers(16, longest, grid.storm_requests)
        outputs = rng.integers(8, most_outputs, grid.storm_requests)
        drawn = enumerate(zip(arrivals, prompts, outputs, strict=True))
        requests = (_request(i, int(at), int(p), int(o)) for i, (at, p, o) in drawn)
        yield Burst("storm", tuple(requests))


def held_out(kinds: Sequence[str], seed: int) -> frozenset[int]:
    """Which of the bursts of these `kinds` no fit may see: of injections and storms a fifth each,
    at least one, chosen by `seed`; none of a kind that was played once.
    """
    chosen: set[int] = set()
    for number, kind in enumerate(("inject", "storm")):
        rng = np.random.default_rng([seed, 4, number])
        of_kind = [index for index, one in enumerate(kinds) if one == kind]
        count = math.ceil(len(of_kind) * HELD_OUT_SHARE) if len(of_kind) > 1 else 0
        chosen.update(int(index) for index in rng.permutation(of_kind)[:count])
    return frozenset(chosen)


def _injected_lengths(grid: ProfilingPreset, params: EngineParams) -> list[int]:
    longest = params.max_model_len - INJECTED_DECODE_TOKENS
    return [length for length in grid.burst_prefill_tokens if length <= longest]


def _chain(
    first: int, pauses_ns: np.ndarray, prompt_tokens: np.ndarray, after: int | None = None
) -> Iterator[PlannedRequest]:
    """Requests from number `first` on, each a pause after the end of the last, at first `after`."""
    pairs = zip(pauses_ns, prompt_tokens, strict=True)
    for index, (pause_ns, tokens) in enumerate(pairs, start=first):
        yield _request(index, int(pause_ns), int(tokens), INJECTED_DECODE_TOKENS, after)
        after = index


def _request(
    index: int, arrival_ns: int, prompt_tokens: int, output_tokens: int, after: int | None = None
) -> PlannedRequest:
    prompt = [1000 + (index * 7919 + position * 31) % 100_000 for position in range(prompt_tokens)]
    return PlannedRequest(str(index), arrival_ns, prompt, output_tokens, after)

"""`run`: from a preset to a workload directory that never changes again."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpu_timing_assets.core.directories import atomic_directory
from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.core.files import read_json
from gpu_timing_assets.core.workload import WorkloadMeta
from gpu_timing_assets.workload.arrivals import (
    NS_PER_S,
    ClosedLoop,
    draw_arrivals,
    draw_closed_loop,
)
from gpu_timing_assets.workload.identity import identify, reuse_workload
from gpu_timing_assets.workload.input_files import resolve_input
from gpu_timing_assets.workload.lengths import draw_lengths
from gpu_timing_assets.workload.prompt_files import prompt_file_candidates
from gpu_timing_assets.workload.random_streams import RandomStream
from gpu_timing_assets.workload.requests import Candidates, Integers, Prompts
from gpu_timing_assets.workload.tokenizer import WorkloadTokenizer, load_tokenizer
from gpu_timing_assets.workload.traces import TraceRequests, read_trace, trace_candidates
from gpu_timing_assets.workload.writing import Requests, write_workload

if TYPE_CHECKING:
    from gpu_timing_assets.config.experiment import ExperimentConfig
    from gpu_timing_assets.config.workload import LengthProcess, TraceSelection, WorkloadPreset

MAX_REQUESTS = 10_000_000


@dataclass(frozen=True)
class WorkloadInputs:
    """A workload is made from its preset alone."""


def run(config: "ExperimentConfig", inputs: WorkloadInputs, out: Path) -> WorkloadMeta:
    """Make the workload of `config.workload` in the directory `out`, or verify the one that is
    there and return it.

    Raises `WorkloadError` for prompts or traces that cannot be used, requests longer than the
    context, and a complete workload in `out` that was made from something else; `ArtifactError` for
    one whose files were changed; `BusyError` if another process is writing it. On any error `out`
    is as it was.
    """
    tokenizer = load_tokenizer(config.model.weights)
    limit = context_limit(config)
    identity = identify(config.workload, tokenizer, config.data.path)
    if out.exists():
        return reuse_workload(out, identity, limit)
    _check_vocabulary(config, tokenizer)
    requests = make_requests(config.workload, tokenizer, config.data.path)
    _check_context(requests, limit, config.workload.workload_id)
    try:
        with atomic_directory(out, replace=False) as scratch:
            return write_workload(scratch, requests, identity, config)
    except FileExistsError:  # another process finished it in the meantime
        return reuse_workload(out, identity, limit)


def context_limit(config: "ExperimentConfig") -> int:
    """The most tokens, prompt and output together, that the target's engine takes in one
    request.
    """
    card = read_json(config.model.card_dir / "config.json")
    most = int(card["max_position_embeddings"])
    return min(most, config.backend.max_model_len or most)


def make_requests(
    preset: "WorkloadPreset", tokenizer: WorkloadTokenizer, data_root: Path
) -> Requests:
    """All requests of the preset, in the order of their arrival."""
    path = (
        None if preset.source.kind == "synthetic" else resolve_input(preset.source.path, data_root)
    )
    trace = None
    if preset.source.kind == "trace":
        assert path is not None
        trace = read_trace(preset.source, path, tokenizer, preset.seed).with_lengths()
    arrivals = _arrivals(preset, trace, data_root, tokenizer)
    count = arrivals.count
    if preset.source.kind == "prompt_file":
        assert path is not None
        candidates = prompt_file_candidates(preset.source, path, tokenizer, preset.seed, count)
    elif trace is not None:
        candidates = trace_candidates(trace, tokenizer, preset.seed, count)
    else:
        assert count is not None
        assert preset.prefill_lengths is not None
        lengths, source = _lengths(
            preset.prefill_lengths, preset.seed, "prefill_lengths", count, data_root, tokenizer
        )
        candidates = Candidates(_random_prompts(preset.seed, count), lengths, None, source)
    count = len(candidates.num_prefill_tokens)
    decode = candidates.num_decode_tokens
    decode_source: dict[str, Any] = {}
    if preset.decode_lengths is not None:
        decode, decode_source = _lengths(
            preset.decode_lengths, preset.seed, "decode_lengths", count, data_root, tokenizer
        )
    if decode is None:
        raise WorkloadError(f"{path}: no num_decode_tokens there: set decode_lengths in the preset")
    times, closed_loop = arrivals.take(count)
    return Requests(
        candidates.prompts,
        candidates.num_prefill_tokens,
        decode,
        times,
        closed_loop,
        {"kind": preset.source.kind, **candidates.source, **decode_source, **arrivals.source},
    )


@dataclass(frozen=True)
class _Arrivals:
    """`times_ns` where they are known before the requests are; `count` is `None` where the requests
    decide it.
    """

    preset: "WorkloadPreset"
    count: int | None
    times_ns: Integers | None
    source: dict[str, Any]

    def take(self, count: int) -> tuple[Integers, ClosedLoop | None]:
        process = self.preset.arrivals
        if process.kind == "closed_loop":
            loop = draw_closed_loop(process, self.preset.seed, count)
            return loop.earliest_ns, loop
        times = (
            self.times_ns
            if self.times_ns is not None
            else draw_arrivals(process, self.preset.seed, count)
        )
        if len(times) < count:
            raise WorkloadError(
                f"arrivals: {count} requests are wanted, the trace has the times of {len(times)}"
            )
        return times[:count], None


def _arrivals(
    preset: "WorkloadPreset",
    trace: TraceRequests | None,
    data_root: Path,
    tokenizer: WorkloadTokenizer,
) -> _Arrivals:
    count = preset.num_requests
    if preset.arrivals.kind == "trace":
        times, source = _trace_times(
            preset.arrivals.trace, trace, preset.seed, data_root, tokenizer
        )
        return _Arrivals(
            preset, _count_within(preset, times) if count is None else count, times, source
        )
    if preset.duration_s is None:
        return _Arrivals(preset, count, None, {})
    drawn = max(1024, preset.min_requests)
    while True:
        times = draw_arrivals(preset.arrivals, preset.seed, drawn)
        if times[-1] > preset.duration_s * NS_PER_S:
            break
        if drawn >= MAX_REQUESTS:
            raise WorkloadError(
                f"arrivals: more than {MAX_REQUESTS:,} in duration_s={preset.duration_s}: shorten "
                f"it"
            )
        drawn = min(4 * drawn, MAX_REQUESTS)
    return _Arrivals(preset, _count_within(preset, times), times, {})


def _count_within(preset: "WorkloadPreset", times: Integers) -> int:
    """How many arrive within `duration_s`, at least `min_requests`."""
    if preset.duration_s is None:
        return len(times)
    within = int(np.searchsorted(times, round(preset.duration_s * NS_PER_S), side="right"))
    return max(within, preset.min_requests)


def _trace_times(
    selection: "TraceSelection | None",
    trace: TraceRequests | None,
    seed: int,
    data_root: Path,
    tokenizer: WorkloadTokenizer,
) -> tuple[Integers, dict[str, Any]]:
    source: dict[str, Any] = {}
    if selection is not None:
        trace = read_trace(selection, resolve_input(selection.path, data_root), tokenizer, seed)
        source = {"arrivals_trace": trace.source}
    assert trace is not None
    if trace.times_ns is None:
        raise WorkloadError(
            f"{trace.path}: a trace of format {trace.format} has no times: set another kind of "
            f"arrivals"
        )
    return trace.times_ns, source


def _lengths(
    process: "LengthProcess",
    seed: int,
    purpose: str,
    count: int,
    data_root: Path,
    tokenizer: WorkloadTokenizer,
) -> tuple[Integers, dict[str, Any]]:
    """The lengths, and for `workload_meta.json` the trace that they were drawn from."""
    observed, source = None, {}
    if process.kind == "empirical":
        trace = read_trace(
            process.trace, resolve_input(process.trace.path, data_root), tokenizer, seed
        ).with_lengths()
        observed = (
            trace.num_prefill_tokens
            if process.column == "num_prefill_tokens"
            else trace.num_decode_tokens
        )
        source = {f"{purpose}_trace": trace.source}
    return draw_lengths(process, RandomStream(seed, purpose), count, observed), source


def _random_prompts(seed: int, count: int) -> Prompts:
    return Prompts(
        [f"synthetic-{index}" for index in range(count)], token_seeds=token_seeds(seed, count)
    )


def token_seeds(seed: int, count: int) -> Integers:
    """A seed below 2^53, which JSON keeps exactly, for each prompt's tokens."""
    return (RandomStream(seed, "token_seeds").raw(count) >> np.uint64(11)).astype(np.int64)


def _check_vocabulary(config: "ExperimentConfig", tokenizer: WorkloadTokenizer) -> None:
    size = int(read_json(config.model.card_dir / "config.json")["vocab_size"])
    if tokenizer.base_vocab_size > size:
        raise WorkloadError(
            f"{tokenizer.name}'s tokenizer has {tokenizer.base_vocab_size} tokens, "
            f"model {config.model.name} {size}: set model.weights to a directory with its "
            f"tokenizer.json"
        )


def _check_context(requests: Requests, limit: int, workload_id: str) -> None:
    total = requests.num_prefill_tokens + requests.num_decode_tokens
    over = total > limit
    if over.any():
        first = int(over.argmax())
        raise WorkloadError(
            f"workload {workload_id}: {int(over.sum())} requests are longer than the context of "
            f"{limit} tokens; the first "
            f"is request {first} (prompt {requests.prompts.prompt_ids[first]!r}), "
            f"{requests.num_prefill_tokens[first]} + "
            f"{requests.num_decode_tokens[first]}: bound the lengths in the preset, or raise "
            f"backend.max_model_len"
        )

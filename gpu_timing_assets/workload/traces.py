"""Requests from public traces: every format is read by its header names into one form.

What is malformed is an error that names the file, the row (the header is row 1) and the field. What
is well formed but cannot be served (no prompt or no output tokens), or was not asked for, is
counted and named in the metadata.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.workload.arrivals import LAST_TIME_NS, NS_PER_S
from gpu_timing_assets.workload.input_files import file_sha256
from gpu_timing_assets.workload.random_streams import RandomStream
from gpu_timing_assets.workload.requests import Candidates, Integers, Prompts, TextPrompt
from gpu_timing_assets.workload.tokenizer import WorkloadTokenizer
from gpu_timing_assets.workload.trace_rows import (
    TraceRows,
    read_csv_rows,
    read_jsonl_rows,
    read_sharegpt_rows,
)

if TYPE_CHECKING:
    from gpu_timing_assets.config.workload import TraceSelection

NAMED_ROWS = 10


@dataclass(frozen=True)
class TraceFormat:
    """What is known of a trace, whichever file it comes in. Times are in units of `time_unit_ns`;
    `time_unit_ns` is `None` where they are dates. `block_size_tokens` belongs to the block
    hashes.
    """

    name: str
    licence: str
    time_column: str = ""
    prefill_column: str = ""
    decode_column: str = ""
    time_unit_ns: int | None = None
    blocks_column: str = ""
    block_size_tokens: int = 0


FORMATS = {
    "azure_2023": TraceFormat(
        "Azure LLM inference 2023", "CC-BY", "TIMESTAMP", "ContextTokens", "GeneratedTokens"
    ),
    "azure_2024": TraceFormat(
        "Azure LLM inference 2024", "CC-BY", "TIMESTAMP", "ContextTokens", "GeneratedTokens"
    ),
    "splitwise": TraceFormat(
        "Splitwise, as Vidur ships it",
        "CC-BY (from Azure's)",
        "arrived_at",
        "num_prefill_tokens",
        "num_decode_tokens",
        NS_PER_S,
    ),
    "mooncake": TraceFormat(
        "Mooncake",
        "Apache-2.0",
        "timestamp",
        "input_length",
        "output_length",
        1_000_000,
        "hash_ids",
        512,
    ),
    "qwen_bailian": TraceFormat(
        "Qwen Bailian",
        "not stated",
        "timestamp",
        "input_length",
        "output_length",
        NS_PER_S,
        "hash_ids",
        16,
    ),
    "burstgpt": TraceFormat(
        "BurstGPT", "CC-BY-4.0", "Timestamp", "Request tokens", "Response tokens", NS_PER_S
    ),
    "sharegpt": TraceFormat("ShareGPT", "Apache-2.0"),
    "plain": TraceFormat(
        "plain lengths and times", "not stated", "", "num_prefill_tokens", "num_decode_tokens"
    ),
}


@dataclass(frozen=True)
class TraceRequests:
    """The requests taken from a trace, in its order; arrays of shape (n,).

    `rows`: where each stands in the file. `times_ns`: from 0, never decreasing; `None` if the
    format has none. `texts`: prompts and answers, where the trace has them. `source`: what goes
    into `workload_meta.json`.
    """

    path: Path
    format: str
    rows: Integers
    times_ns: Integers | None
    num_prefill_tokens: Integers
    num_decode_tokens: Integers
    has_lengths: bool = True
    blocks: list[list[int]] | None = None
    block_size_tokens: int = 0
    texts: list[str] | None = None
    text_token_ids: list[list[int]] | None = None
    source: dict[str, Any] = field(default_factory=dict)

    def with_lengths(self) -> "TraceRequests":
        """This trace. Raises `WorkloadError` if it has only times."""
        if not self.has_lengths:
            raise WorkloadError(
                f"{self.path}: columns 'num_prefill_tokens' and 'num_decode_tokens' are missing: "
                f"a file of "
                "times alone serves arrivals only"
            )
        return self


def read_trace(
    selection: "TraceSelection", path: Path, tokenizer: WorkloadTokenizer, seed: int
) -> TraceRequests:
    """Read `path` and take from it what `selection` says.

    Raises `WorkloadError`: columns that are missing, a cell that is empty, negative or no number,
    times that go back, an archive that is damaged, nothing left after the window and the bounds.
    """
    kind = FORMATS[selection.format]
    rows = _read_rows(selection.format, kind, path)
    text_token_ids: list[list[int]] | None = None
    if rows.texts is not None and rows.answers is not None:
        text_token_ids = tokenizer.encode(rows.texts)
        rows = rows.with_lengths(
            [len(ids) for ids in text_token_ids],
            [len(ids) for ids in tokenizer.encode(rows.answers)],
        )
    if selection.format == "burstgpt" and rows.times_ns is not None:
        rows = rows.with_times(_spread_within_seconds(rows.times_ns, seed))
    keep, counts = _select(selection, rows)
    if not keep.any():
        raise WorkloadError(
            f"{path}: no request is left of {len(rows.rows)} ({_in_words(counts)}): "
            "widen the window or the bounds"
        )
    taken = np.flatnonzero(keep)
    if selection.max_requests is not None and len(taken) > selection.max_requests:
        counts["over_max_requests"] = {"count": len(taken) - selection.max_requests}
        taken = taken[: selection.max_requests]
    name = selection.name or kind.name
    if selection.format == "burstgpt" and selection.name is None:
        name += " 2.0" if "Session ID" in rows.columns else " 1.1"
    times, scale = _scaled_times(
        selection, path, None if rows.times_ns is None else rows.times_ns[taken]
    )
    return TraceRequests(
        path,
        selection.format,
        rows.rows[taken],
        times,
        rows.num_prefill_tokens[taken],
        rows.num_decode_tokens[taken],
        rows.has_lengths,
        None if rows.blocks is None else [rows.blocks[index] for index in taken],
        kind.block_size_tokens,
        None if rows.texts is None else [rows.texts[index] for index in taken],
        None if text_token_ids is None else [text_token_ids[index] for index in taken],
        {
            "name": name,
            "licence": selection.licence or kind.licence,
            "format": selection.format,
            "file": path.name,
            "sha256": file_sha256(path),
            "rows_read": len(rows.rows),
            "requests_taken": len(taken),
            "left_out": counts,
            "time_scale": scale,
        },
    )


def trace_candidates(
    trace: TraceRequests, tokenizer: WorkloadTokenizer, seed: int, count: int | None
) -> Candidates:
    """The trace's first `count` requests (all if `None`) with their prompts: texts where it has
    them, else random tokens that share prefixes as its block hashes do. Raises `WorkloadError` if
    it has fewer.
    """
    total = len(trace.rows) if count is None else count
    if total > len(trace.rows):
        raise WorkloadError(
            f"{trace.path}: {total} requests are wanted, the trace has {len(trace.rows)} that can "
            f"be used: "
            "lower num_requests, duration_s or the rate"
        )
    prompt_ids = [f"row-{row}" for row in trace.rows[:total].tolist()]
    if trace.texts is not None and trace.text_token_ids is not None:
        prompts = Prompts(
            prompt_ids,
            texts=tuple(
                TextPrompt(*prompt)
                for prompt in zip(prompt_ids, trace.texts, trace.text_token_ids, strict=False)
            ),
        )
    else:
        # seeds belong to rows of the file, so that a window or filter does not change a request's
        # tokens
        raw = RandomStream(seed, "token_seeds").raw(int(trace.rows[:total].max()) + 1) >> np.uint64(
            11
        )
        prompts = Prompts(
            prompt_ids,
            token_seeds=raw.astype(np.int64)[trace.rows[:total]],
            block_ids=None if trace.blocks is None else trace.blocks[:total],
            block_size_tokens=trace.block_size_tokens,
        )
    return Candidates(
        prompts, trace.num_prefill_tokens[:total], trace.num_decode_tokens[:total], trace.source
    )


def _read_rows(name: str, kind: TraceFormat, path: Path) -> TraceRows:
    if name == "sharegpt":
        return read_sharegpt_rows(path)
    if name in ("mooncake", "qwen_bailian") or (name == "plain" and _is_jsonl(path)):
        return read_jsonl_rows(
            path,
            kind.time_column,
            kind.time_unit_ns,
            kind.prefill_column,
            kind.decode_column,
            kind.blocks_column,
            kind.block_size_tokens,
        )
    return read_csv_rows(
        path, kind.time_column, kind.time_unit_ns, kind.prefill_column, kind.decode_column
    )


def _is_jsonl(path: Path) -> bool:
    from gpu_timing_assets.workload.input_files import open_input

    with open_input(path) as file:
        return file.read(1) == b"{"


def _spread_within_seconds(times_ns: Integers, seed: int) -> Integers:
    """Whole seconds become random times within them; the file's order stays, for the sorted times
    are dealt in it.
    """
    offsets = (RandomStream(seed, "within_second").uniform(len(times_ns)) * NS_PER_S).astype(
        np.int64
    )
    return np.sort(times_ns + offsets)


def _select(
    selection: "TraceSelection", rows: TraceRows
) -> tuple["np.ndarray[Any, np.dtype[np.bool_]]", dict[str, Any]]:
    """Which rows are taken, and for each reason how many are not, with the first of them."""
    prefill, decode = rows.num_prefill_tokens, rows.num_decode_tokens
    keep = np.ones(len(rows.rows), dtype=bool)
    counts: dict[str, Any] = {
        reason: {"count": len(where), "rows": where[:NAMED_ROWS]}
        for reason, where in rows.unusable.items()
    }
    most = 2**62
    reasons = [
        ("no_prompt_tokens", prefill < 1),
        ("no_output_tokens", decode < 1),
        (
            "prefill_tokens_out_of_bounds",
            (prefill < selection.min_prefill_tokens)
            | (prefill > (selection.max_prefill_tokens or most)),
        ),
        (
            "decode_tokens_out_of_bounds",
            (decode < selection.min_decode_tokens)
            | (decode > (selection.max_decode_tokens or most)),
        ),
        ("total_tokens_out_of_bounds", prefill + decode > (selection.max_total_tokens or most)),
    ]
    if rows.times_ns is not None:
        since = rows.times_ns - rows.times_ns[0] if len(rows.rows) else rows.times_ns
        end = most if selection.window_end_s is None else round(selection.window_end_s * NS_PER_S)
        reasons.insert(
            0,
            (
                "outside_window",
                (since < round(selection.window_start_s * NS_PER_S)) | (since >= end),
            ),
        )
    elif (
        selection.window_start_s
        or selection.window_end_s is not None
        or selection.target_rate_per_s is not None
    ):
        raise WorkloadError(
            f"a trace of format {selection.format} has no times there: remove window and "
            f"target_rate_per_s"
        )
    for reason, bad in reasons:
        left_out = keep & bad
        if left_out.any():
            counts[reason] = {
                "count": int(left_out.sum()),
                "rows": rows.rows[left_out][:NAMED_ROWS].tolist(),
            }
        keep &= ~bad
    return keep, counts


def _scaled_times(
    selection: "TraceSelection", path: Path, times_ns: Integers | None
) -> tuple[Integers | None, float | None]:
    """Times from 0, scaled so that n requests come at the target rate: n − 1 intervals of mean
    1/rate.
    """
    if times_ns is None:
        return None, None
    since = times_ns - times_ns[0]
    if selection.target_rate_per_s is None:
        return since, 1.0
    if since[-1] == 0:
        raise WorkloadError(
            f"{path}: all {len(since)} requests taken have one time, which cannot be scaled to a "
            f"rate: "
            "widen the window or remove target_rate_per_s"
        )
    factor = (len(since) - 1) / selection.target_rate_per_s * NS_PER_S / float(since[-1])
    scaled = since.astype(np.float64) * factor
    if scaled[-1] >= LAST_TIME_NS:
        raise WorkloadError(
            f"{path}: at target_rate_per_s={selection.target_rate_per_s} the last request is more "
            f"than a "
            "century after the first: raise it"
        )
    return np.rint(scaled).astype(np.int64), factor


def _in_words(counts: dict[str, Any]) -> str:
    words = [f"{entry['count']} {reason.replace('_', ' ')}" for reason, entry in counts.items()]
    return ", ".join(words) or "the file is empty"

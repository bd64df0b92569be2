"""Requests from public traces: every format is read into one form, and a selection taken from it.

What is malformed is an error that names the file, the row (a header is row 1) and the field. What
is well formed but cannot be served (no prompt or no output tokens), or was not asked for, is
counted and named in the metadata.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpu_timing_assets.config.workload import TRACE_FORMATS, TraceSelection
from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.core.files import file_sha256
from gpu_timing_assets.workload.requests import Integers
from gpu_timing_assets.workload.times import LAST_TIME_NS, NS_PER_S
from gpu_timing_assets.workload.trace_rows import TraceRows

if TYPE_CHECKING:
    from gpu_timing_assets.workload.draw_context import DrawContext

NAMED_ROWS = 10
# above any length and any time
_UNBOUNDED = 2**62

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Trace:
    """The requests taken, their times from 0; `source`: what goes into `workload_meta.json`."""

    path: Path
    format: str
    requests: TraceRows
    source: dict[str, Any]

    def requests_with_lengths(self) -> TraceRows:
        """Raises `WorkloadError` if it has only times."""
        if not self.requests.has_lengths:
            raise WorkloadError(
                f"{self.path}: columns 'num_prefill_tokens' and 'num_decode_tokens' are missing: "
                "a file of times alone serves arrivals only"
            )
        return self.requests

    def times_ns(self) -> Integers:
        """Shape (n,), never decreasing. Raises `WorkloadError` if it has none."""
        if self.requests.times_ns is None:
            raise WorkloadError(
                f"{self.path}: a trace of format {self.format} has no times: set another kind of "
                "arrivals"
            )
        return self.requests.times_ns


def read_trace(selection: TraceSelection, context: "DrawContext") -> Trace:
    """Read the file and take from it what `selection` says.

    Raises `WorkloadError`: columns that are missing, a cell that is empty, negative or no number,
    times that go back, an archive that is damaged, nothing left after the window and the bounds.
    """
    path = context.path(selection.path)
    trace_format = TRACE_FORMATS[selection.format]
    if selection.block_size_tokens is not None:
        trace_format = trace_format.with_block_size(selection.block_size_tokens)
    rows = trace_format.read(path, context)
    taken, left_out = _select(selection, rows)
    if not len(taken):
        counts = [f"{left['count']} {why.replace('_', ' ')}" for why, left in left_out.items()]
        raise WorkloadError(
            f"{path}: no request is left of {len(rows.rows)} "
            f"({', '.join(counts) or 'the file is empty'}): widen the window or the bounds"
        )
    if selection.max_requests is not None and len(taken) > selection.max_requests:
        left_out["over_max_requests"] = {"count": len(taken) - selection.max_requests}
        taken = taken[: selection.max_requests]
    requests = rows.take(taken)
    times_ns, scale = _scaled_times(selection, path, requests.times_ns)
    source = {
        "name": selection.name or trace_format.title_of(rows),
        "licence": selection.licence or trace_format.licence,
        "format": selection.format,
        "file": path.name,
        "sha256": file_sha256(path),
        "rows_read": len(rows.rows),
        "requests_taken": len(taken),
        "left_out": left_out,
        "time_scale": scale,
        **({"notes": list(rows.notes)} if rows.notes else {}),
    }
    return Trace(path, selection.format, replace(requests, times_ns=times_ns), source)


def _select(selection: TraceSelection, rows: TraceRows) -> tuple[Integers, dict[str, Any]]:
    """Which are taken, and for each reason how many are not, with the rows of the first of them."""
    keep = np.ones(len(rows.rows), dtype=bool)
    left_out: dict[str, Any] = {
        reason: {"count": len(where), "rows": where[:NAMED_ROWS]}
        for reason, where in rows.unusable.items()
    }
    for reason, unwanted in _unwanted(selection, rows):
        first_reason = keep & unwanted
        if first_reason.any():
            left_out[reason] = {
                "count": int(first_reason.sum()),
                "rows": rows.rows[first_reason][:NAMED_ROWS].tolist(),
            }
        keep &= ~unwanted
    return np.flatnonzero(keep), left_out


def _unwanted(selection: TraceSelection, rows: TraceRows) -> Iterator[tuple[str, Mask]]:
    """Each reason not to take a request, and whose it is, shape (n,)."""
    prefill, decode = rows.num_prefill_tokens, rows.num_decode_tokens
    if rows.times_ns is not None:
        since_ns = rows.times_ns - rows.times_ns[:1]
        begin_ns = round(selection.window_start_s * NS_PER_S)
        end_ns = _UNBOUNDED
        if selection.window_end_s is not None:
            end_ns = round(selection.window_end_s * NS_PER_S)
        yield "outside_window", (since_ns < begin_ns) | (since_ns >= end_ns)
    elif (
        selection.window_start_s
        or selection.window_end_s is not None
        or selection.target_rate_per_s is not None
    ):
        raise WorkloadError(
            f"a trace of format {selection.format} has no times there: remove window and "
            "target_rate_per_s"
        )
    yield "no_prompt_tokens", prefill < 1
    yield "no_output_tokens", decode < 1
    yield (
        "prefill_tokens_out_of_bounds",
        (prefill < selection.min_prefill_tokens)
        | (prefill > (selection.max_prefill_tokens or _UNBOUNDED)),
    )
    yield (
        "decode_tokens_out_of_bounds",
        (decode < selection.min_decode_tokens)
        | (decode > (selection.max_decode_tokens or _UNBOUNDED)),
    )
    longest = selection.max_total_tokens or _UNBOUNDED
    yield "total_tokens_out_of_bounds", prefill + decode > longest


def _scaled_times(
    selection: TraceSelection, path: Path, times_ns: Integers | None
) -> tuple[Integers | None, float | None]:
    """Times from 0; at a target rate, n requests have n − 1 intervals of mean 1/rate."""
    if times_ns is None:
        return None, None
    since_ns = times_ns - times_ns[0]
    if selection.target_rate_per_s is None:
        return since_ns, 1.0
    if since_ns[-1] == 0:
        raise WorkloadError(
            f"{path}: all {len(since_ns)} requests taken have one time, which cannot be scaled to "
            "a rate: widen the window or remove target_rate_per_s"
        )
    factor = (len(since_ns) - 1) / selection.target_rate_per_s * NS_PER_S / float(since_ns[-1])
    scaled = since_ns.astype(np.float64) * factor
    if scaled[-1] >= LAST_TIME_NS:
        raise WorkloadError(
            f"{path}: at target_rate_per_s={selection.target_rate_per_s} the last request is more "
            "than a century after the first: raise it"
        )
    return np.rint(scaled).astype(np.int64), factor

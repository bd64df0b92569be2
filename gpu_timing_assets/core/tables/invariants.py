"""What must hold within and between tables: readers that check it and name file and row."""

from pathlib import Path

import numpy as np
import pandas as pd

from gpu_timing_assets.core.errors import ArtifactError, GpuTimingError, WorkloadError
from gpu_timing_assets.core.tables.schemas import (
    REQUEST_METRICS,
    TOKEN_METRICS,
    TRACE_INTERVALS,
    TRACE_LENGTHS,
)
from gpu_timing_assets.core.tables.table import refuse_row


def read_workload_tables(directory: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`(trace_lengths, trace_intervals)` of a workload directory, joined by `request_id`, with
    their invariants checked.

    Raises `ArtifactError` naming file and row where ids are not 0, 1, 2 …, or arrivals are not the
    running sum of the intervals.
    """
    lengths, intervals = TRACE_LENGTHS.read(directory), TRACE_INTERVALS.read(directory)
    for table, frame in ((TRACE_LENGTHS, lengths), (TRACE_INTERVALS, intervals)):
        path = table.find(directory)
        if frame.empty:
            raise ArtifactError(f"{path}: there is no request in it")
        wrong = frame["request_id"].to_numpy() != np.arange(len(frame))
        if wrong.any():
            row = int(wrong.argmax())
            raise ArtifactError(
                f"{path}, row {row + 2}: request_id is {frame['request_id'].iloc[row]}, expected "
                f"{row}"
            )
    if len(lengths) != len(intervals):
        raise ArtifactError(
            f"{directory}: {len(lengths)} requests in trace_lengths.csv, {len(intervals)} in "
            f"trace_intervals.csv"
        )
    running_sum = intervals["inter_arrival_ns"].cumsum()
    wrong = (intervals["arrival_time_ns"] != running_sum).to_numpy()
    why = "arrival_time_ns is not the running sum of inter_arrival_ns"
    refuse_row(TRACE_INTERVALS.find(directory), wrong, why)
    return lengths, intervals


def check_context(
    lengths: pd.DataFrame,
    limit: int,
    where: str,
    remedy: str,
    *,
    what: str = "the context",
    error: type[GpuTimingError] = WorkloadError,
) -> None:
    """Raises `error` naming `where` if a request of `trace_lengths.csv` has more than `limit`
    tokens, prompt and output together, which is what `what` holds; how many, and which is first.
    """
    prefill, decode = lengths["num_prefill_tokens"], lengths["num_decode_tokens"]
    over = (prefill + decode > limit).to_numpy()
    if over.any():
        row = int(over.argmax())
        many = "1 request is" if over.sum() == 1 else f"{int(over.sum())} requests are"
        raise error(
            f"{where}: {many} longer than {what} of {limit} tokens; the "
            f"first is request {row} (prompt {lengths['prompt_id'].iloc[row]!r}, row {row + 2} of "
            f"{TRACE_LENGTHS.file}), {prefill.iloc[row]} + {decode.iloc[row]}: {remedy}"
        )


def read_run_tables(directory: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`(request_metrics, token_metrics)` of a run, sorted by request (and token), and checked.

    Raises `ArtifactError` naming file and row: duplicate requests, tokens that are not contiguous,
    times that decrease, a negative TTFT, a token count that differs from
    `num_decode_tokens_actual`, a `first_token_time_ns` that is not the first token's, a
    `token_latency_ns` that is not the difference of the times.
    """
    requests, tokens = REQUEST_METRICS.read(directory), TOKEN_METRICS.read(directory)
    if not tokens["request_id"].is_monotonic_increasing:
        tokens = tokens.sort_values(["request_id", "token_index"], kind="stable")
    check_run_tables(
        requests, tokens, REQUEST_METRICS.find(directory), TOKEN_METRICS.find(directory)
    )
    requests = requests.sort_values("request_id", kind="stable")
    return requests.reset_index(drop=True), tokens.reset_index(drop=True)


def read_request_metrics(directory: Path) -> pd.DataFrame:
    """`request_metrics` of a run that has no token times, sorted by request and checked in itself.

    Raises `ArtifactError` naming file and row, for one where a request ends before its first token.
    """
    requests, path = REQUEST_METRICS.read(directory), REQUEST_METRICS.find(directory)
    check_run_tables(requests, None, path, path)
    return requests.sort_values("request_id", kind="stable").reset_index(drop=True)


def _check_requests(path: Path, requests: pd.DataFrame) -> None:
    _refuse(path, requests, requests["request_id"].duplicated(), "appears twice")
    known = requests["status"].isin(["ok", "error"])
    _refuse(path, requests, ~known, "status is neither ok nor error")
    ok = (requests["status"] == "ok").to_numpy()
    for column in ("first_token_time_ns", "ttft_ns", "completion_time_ns"):
        missing = ok & requests[column].isna().to_numpy()
        _refuse(path, requests, missing, f"is ok but has no {column}")
    empty = ok & (requests["num_decode_tokens_actual"] == 0).to_numpy()
    _refuse(path, requests, empty, "is ok but has no token")
    ttft_ns = requests["first_token_time_ns"] - requests["arrival_time_ns"]
    wrong = (ttft_ns != requests["ttft_ns"]).fillna(False)
    _refuse(path, requests, wrong, "ttft_ns is not first_token_time_ns - arrival_time_ns")


def _check_tokens(path: Path, tokens: pd.DataFrame, is_first: np.ndarray) -> None:
    """`tokens` sorted; `is_first`: shape (tokens,), whether a row is its request's token 0."""
    index = tokens["token_index"].to_numpy()
    expected = np.where(is_first, 0, np.roll(index, 1) + 1)
    _refuse(path, tokens, index != expected, "token_index is not contiguous from 0")
    times = tokens["token_time_ns"].to_numpy()
    gaps = np.diff(times, prepend=times[:1])
    _refuse(path, tokens, ~is_first & (gaps < 0), "token_time_ns decreases")
    latency = tokens["token_latency_ns"]
    misplaced = is_first != latency.isna().to_numpy()
    _refuse(path, tokens, misplaced, "token_latency_ns must be empty for token 0 and only there")
    differs = ~is_first & (latency.fillna(0).to_numpy(dtype=np.int64) != gaps)
    _refuse(path, tokens, differs, "token_latency_ns is not the time since the token before")


def _check_requests_against_tokens(
    path: Path, token_path: Path, requests: pd.DataFrame, tokens: pd.DataFrame, is_first: np.ndarray
) -> None:
    ids = requests["request_id"]
    counts = tokens.groupby("request_id").size().reindex(ids).fillna(0).to_numpy()
    wrong = counts != requests["num_decode_tokens_actual"].to_numpy()
    why = "num_decode_tokens_actual is not its number of rows in token_metrics.csv"
    _refuse(path, requests, wrong, why)
    unknown = ~tokens["request_id"].isin(ids)
    _refuse(token_path, tokens, unknown, "is not in request_metrics.csv")
    is_last = np.roll(is_first, -1)
    first, last = (
        tokens[rows].set_index("request_id")["token_time_ns"].reindex(ids).to_numpy(dtype=float)
        for rows in (is_first, is_last)
    )
    recorded = requests["first_token_time_ns"].to_numpy(dtype=float, na_value=np.nan)
    wrong = (first != recorded) & ~np.isnan(first)
    _refuse(path, requests, wrong, "first_token_time_ns is not the time of token 0")
    completion = requests["completion_time_ns"].to_numpy(dtype=float, na_value=np.nan)
    _refuse(path, requests, completion < last, "completion_time_ns is before its last token")


def _refuse(path: Path, frame: pd.DataFrame, bad: "np.ndarray | pd.Series", why: str) -> None:
    bad = np.asarray(bad, dtype=bool)
    if bad.any():
        row = int(bad.argmax())
        number, request = int(frame.index[row]) + 2, frame["request_id"].iloc[row]
        raise ArtifactError(f"{path}, row {number}: request {request}: {why}")


def check_run_tables(
    requests: pd.DataFrame, tokens: pd.DataFrame | None, requests_path: Path, tokens_path: Path
) -> None:
    """Raises `ArtifactError` as `read_run_tables` says; `tokens` are sorted by request, None if the
    run has no time for each.

    The paths are those that an error names.
    """
    _check_requests(requests_path, requests)
    if tokens is None:
        early = requests["completion_time_ns"] < requests["first_token_time_ns"]
        why = "completion_time_ns is before its first token"
        _refuse(requests_path, requests, early.fillna(False), why)
        return
    request_of = tokens["request_id"].to_numpy()
    is_first = np.ones(len(tokens), dtype=bool)
    is_first[1:] = request_of[1:] != request_of[:-1]
    _check_tokens(tokens_path, tokens, is_first)
    _check_requests_against_tokens(requests_path, tokens_path, requests, tokens, is_first)

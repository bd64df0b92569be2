"""The two tables of a run, made from the time of every token."""

import numpy as np
import pandas as pd


def run_tables_from_token_times(
    lengths: pd.DataFrame,
    arrival_time_ns: np.ndarray,
    token_request: np.ndarray,
    token_time_ns: np.ndarray,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Build `(request_metrics, token_metrics)` from every token's request and time.

    `lengths`: one row a request, with `request_id` = 0 … n−1 and both token counts.
    `arrival_time_ns`: shape (n,). `token_request`, `token_time_ns`: shape (tokens,), a request's
    tokens in the order they were made. A request without tokens gets status `error`.
    """
    order = np.argsort(token_request, kind="stable")
    request_of = np.asarray(token_request)[order]
    times = np.asarray(token_time_ns, dtype=np.int64)[order]
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = request_of[1:] != request_of[:-1]
    first_row = np.flatnonzero(starts)
    tokens_made = np.diff(np.r_[first_row, len(order)])
    token_index = np.arange(len(order)) - np.repeat(first_row, tokens_made)
    latency = pd.array(np.diff(times, prepend=times[:1]), dtype="Int64")
    latency[starts] = pd.NA
    tokens = pd.DataFrame(
        {
            "request_id": request_of,
            "token_index": token_index,
            "token_time_ns": times,
            "token_latency_ns": latency,
        }
    )
    count = np.bincount(request_of, minlength=len(lengths))
    last_row = np.cumsum(count) - 1
    served = count > 0
    first_time = pd.array([pd.NA] * len(lengths), dtype="Int64")
    last_time = first_time.copy()
    first_time[served] = times[last_row[served] - count[served] + 1]
    last_time[served] = times[last_row[served]]
    requests = pd.DataFrame(
        {
            "request_id": np.arange(len(lengths)),
            "arrival_time_ns": arrival_time_ns,
            "first_token_time_ns": first_time,
            "ttft_ns": first_time - arrival_time_ns,
            "completion_time_ns": last_time,
            "num_prefill_tokens": lengths["num_prefill_tokens"].to_numpy(),
            "num_decode_tokens": lengths["num_decode_tokens"].to_numpy(),
            "num_decode_tokens_actual": count,
            "status": np.where(served, "ok", "error"),
        }
    )
    return requests, tokens

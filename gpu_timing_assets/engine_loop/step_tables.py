"""The tables of a run, made of the steps of an `EngineLoop`, all at once."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gpu_timing_assets.engine_loop.client import ClientLatency
from gpu_timing_assets.engine_loop.step import Step


def engine_steps(steps: Sequence[Step]) -> pd.DataFrame:
    """`engine_steps.csv`: one row a step."""
    return pd.DataFrame(
        {
            "step": np.arange(len(steps)),
            "schedule_begin_ns": to_ns(np.array([step.schedule_begin_s for step in steps])),
            "schedule_end_ns": to_ns(np.array([step.schedule_end_s for step in steps])),
            "result_ns": to_ns(np.array([step.result_s for step in steps])),
            "num_prefill_tokens": [step.num_prefill_tokens for step in steps],
            "num_prefill_requests": [step.num_prefill_requests for step in steps],
            "num_decode_requests": [step.num_decode_requests for step in steps],
            "kv_tokens": [step.kv_tokens for step in steps],
            "graph_mode": [step.graph_mode for step in steps],
        }
    )


def engine_batches(steps: Sequence[Step]) -> pd.DataFrame:
    """`engine_batches.csv`: one row a request in a step."""
    sizes = [step.num_requests for step in steps]
    return pd.DataFrame(
        {
            "step": np.repeat(np.arange(len(steps)), sizes),
            "request_id": [s.request_id for step in steps for s in step.sequences],
            "num_scheduled_tokens": [n for step in steps for n in step.num_scheduled_tokens],
            "num_computed_tokens": [n for step in steps for n in step.num_computed_tokens],
        },
        dtype=np.int64,
    )


def token_times(steps: Sequence[Step], client: ClientLatency) -> tuple[np.ndarray, np.ndarray]:
    """`(request_id, time_ns)` of every token at the client, in the order they were made."""
    counts = np.array([len(step.produced) for step in steps], dtype=np.int64)
    result_s = np.repeat(np.array([step.result_s for step in steps]), counts)
    after_idle = np.repeat(np.array([step.after_idle for step in steps], dtype=bool), counts)
    position = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    request_id = np.array([request for step in steps for request in step.produced], dtype=np.int64)
    out_s = client.token_out_s(np.repeat(counts, counts), position, after_idle)
    return request_id, to_ns(result_s + out_s)


def to_ns(seconds: np.ndarray) -> np.ndarray:
    return np.rint(np.asarray(seconds, dtype=float) * 1e9).astype(np.int64)

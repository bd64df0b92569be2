"""Reading what `recording_scheduler` wrote: the engine's steps and who was in them, as tables."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gpu_timing_assets.core.errors import EngineError
from gpu_timing_assets.engine_loop.cuda_graphs import graph_modes


def read_header(path: Path) -> dict[str, Any]:
    """The record of what the engine resolved. Raises `EngineError` if the engine never wrote
    one.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            kind, header = json.loads(lines.readline())
    except (OSError, ValueError):
        raise EngineError(
            f"the engine wrote no recording to {path}: its scheduler did not start"
        ) from None
    assert kind == "header"
    return header


def read_recording(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`(steps, batches)` of a whole recording, on the monotonic clock.

    `steps`: `step`, `schedule_begin_ns`, `schedule_end_ns`, `update_begin_ns`, `update_end_ns`
    (nullable). `batches`: `step`, `request` (the client's request id), `num_scheduled_tokens`,
    `num_computed_tokens`.
    """
    scheduled, updated, batch_step, batch_request, batch_tokens, batch_computed = (
        [],
        [],
        [],
        [],
        [],
        [],
    )
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            if record[0] == "s":
                scheduled.append(record[1:4])
                for name, tokens, computed in record[4]:
                    batch_step.append(record[1])
                    batch_request.append(name)
                    batch_tokens.append(tokens)
                    batch_computed.append(computed)
            elif record[0] == "u":
                updated.append(record[1:4])
    steps = pd.DataFrame(scheduled, columns=["step", "schedule_begin_ns", "schedule_end_ns"]).merge(
        pd.DataFrame(updated, columns=["step", "update_begin_ns", "update_end_ns"], dtype="Int64"),
        on="step",
        how="left",
    )
    batches = pd.DataFrame(
        {
            "step": np.asarray(batch_step, dtype=np.int64),
            # vLLM appends a random suffix to the client's request id
            "request": pd.Series(batch_request, dtype="str").str.split("-", n=1).str[0],
            "num_scheduled_tokens": np.asarray(batch_tokens, dtype=np.int64),
            "num_computed_tokens": np.asarray(batch_computed, dtype=np.int64),
        }
    )
    return steps, batches


def describe_steps(
    steps: pd.DataFrame,
    batches: pd.DataFrame,
    prompt_tokens: Mapping[int, int] | pd.Series,
    cudagraph_mode: str,
    capture_sizes: tuple[int, ...],
) -> pd.DataFrame:
    """What was in each step: the count columns of `engine_steps.csv` beside the columns of `steps`.

    `batches` has `request_id`; a request is in prefill until its prompt is computed (a recomputed
    one likewise, as long as more than one token is scheduled). `kv_tokens` are the tokens of
    context that the step attends to, those of the step included.
    """
    lengths = prompt_tokens if isinstance(prompt_tokens, pd.Series) else pd.Series(prompt_tokens)
    prompt = lengths.reindex(batches["request_id"]).to_numpy()
    tokens = batches["num_scheduled_tokens"].to_numpy()
    prefill = (batches["num_computed_tokens"].to_numpy() < prompt) | (tokens > 1)
    counts = (
        pd.DataFrame(
            {
                "step": batches["step"],
                "num_prefill_tokens": np.where(prefill, tokens, 0),
                "num_prefill_requests": prefill.astype(np.int64),
                "num_decode_requests": (~prefill).astype(np.int64),
                "kv_tokens": batches["num_computed_tokens"] + tokens,
            }
        )
        .groupby("step", as_index=False)
        .sum()
    )
    described = steps.merge(counts, on="step", how="inner")
    described["graph_mode"] = graph_modes(
        described["num_prefill_tokens"].to_numpy(),
        described["num_decode_requests"].to_numpy(),
        cudagraph_mode,
        capture_sizes,
    )
    return described

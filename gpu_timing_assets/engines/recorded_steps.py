"""An engine's recorded steps as tables, and what was in each of them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.engine_loop.cuda_graphs import graph_modes


@dataclass(frozen=True)
class RecordedSteps:
    """Times on the monotonic clock, requests by the two parts of the name that the client gave.

    `steps`: `step`, `schedule_begin_ns`, `schedule_end_ns`, `update_begin_ns`, `update_end_ns`
    (null where the result was not processed), and `schemas.OBSERVED` (null where it was not).
    `batches`, who was in each step: `step`, `tag`, `request_id` (−1 in a name without a number),
    `num_scheduled_tokens`, `num_computed_tokens`.
    """

    steps: pd.DataFrame
    batches: pd.DataFrame

    def batches_of(self, tag: str) -> pd.DataFrame:
        return self.batches[self.batches["tag"] == tag].drop(columns="tag")


def describe_steps(
    steps: pd.DataFrame, batches: pd.DataFrame, prompt_tokens: pd.Series, params: EngineParams
) -> pd.DataFrame:
    """What was in each step of `batches`: the count columns of `engine_steps.csv` beside `steps`.

    `prompt_tokens` by request id. A request is in prefill until its prompt is computed (a
    recomputed one likewise, as long as more than one token is scheduled). `kv_tokens` are the
    tokens of context that the step attends to, those of the step included.
    """
    prompt = prompt_tokens.reindex(batches["request_id"]).to_numpy()
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
        params.graph_mode,
        params.graph_capture_sizes,
    )
    return described

"""What came of an `EngineLoop` that served a few requests."""

from collections.abc import Sequence as Requests
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.engine_loop.client import ClientLatency, ClientTiming
from gpu_timing_assets.engine_loop.loop import EngineLoop, StepTiming
from gpu_timing_assets.engine_loop.serve import serve as serve_loop
from gpu_timing_assets.engine_loop.step_tables import engine_batches, engine_steps, token_times


@dataclass(frozen=True)
class Served:
    """The engine's steps, who was in them, and every token's request and time."""

    params: EngineParams
    steps: pd.DataFrame
    batches: pd.DataFrame
    token_request: np.ndarray
    token_ns: np.ndarray

    def batch(self, step: int) -> dict[int, int]:
        """Request → tokens scheduled in that step."""
        rows = self.batches[self.batches["step"] == step]
        return dict(
            zip(rows["request_id"].tolist(), rows["num_scheduled_tokens"].tolist(), strict=True)
        )

    @property
    def order(self) -> list[list[int]]:
        """The requests of each step, in the order in which the scheduler chose them."""
        return [group["request_id"].tolist() for _, group in self.batches.groupby("step")]

    def outputs(self, request: int) -> int:
        return int((self.token_request == request).sum())


def serve(
    requests: Requests[tuple[int, int, float]], params: EngineParams, timing: StepTiming
) -> Served:
    """`requests` are `(prompt tokens, output tokens, arrival_ms)`."""
    prompts, outputs, arrival_ms = (np.array(column) for column in zip(*requests, strict=True))
    lengths = pd.DataFrame({"num_prefill_tokens": prompts, "num_decode_tokens": outputs})
    return served(params, serve_loop(lengths, arrival_ms / 1e3, params, timing))


def served(params: EngineParams, loop: EngineLoop) -> Served:
    """Tokens are seen as soon as they are made."""
    client = ClientLatency(ClientTiming.none(), np.random.default_rng(0))
    token_request, token_ns = token_times(loop.steps, client)
    return Served(
        params, engine_steps(loop.steps), engine_batches(loop.steps), token_request, token_ns
    )

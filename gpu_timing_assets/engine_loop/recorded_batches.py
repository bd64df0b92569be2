"""Replays the batches of a real run through the time model: no error of the scheduler is left.

The batches of a real run, timed by a model that is 1 % slow, end 150 ms late after 15 s, and every
TTFT would be late by as much. So the batches are replayed back to back, and each request's times
start where the real engine first scheduled it: what is left is the time model's error within the
request's own life.
"""

from collections import deque
from itertools import groupby
from operator import attrgetter

import numpy as np
import pandas as pd

from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.engine_loop.sequence import Sequence
from gpu_timing_assets.engine_loop.step import Step
from gpu_timing_assets.engine_loop.vllm_v1_scheduler import VllmV1Scheduler

# engine_steps and engine_batches of one run
Tables = tuple[pd.DataFrame, pd.DataFrame]


class RecordedBatches(VllmV1Scheduler):
    """Schedules what the real engine scheduled, step by step and back to back; all requests must be
    there from the start.

    `steps` and `batches`: the `engine_steps` and `engine_batches` of a real run.
    """

    def __init__(self, params: EngineParams, steps: pd.DataFrame, batches: pd.DataFrame) -> None:
        super().__init__(params)
        self._after_idle = steps_after_idle(steps)
        rows = batches.sort_values("step", kind="stable").itertuples(index=False)
        by_step = groupby(rows, key=attrgetter("step"))
        self._recorded = deque((step, list(scheduled)) for step, scheduled in by_step)
        self._arrived: dict[int, Sequence] = {}

    def add(self, sequence: Sequence) -> None:
        super().add(sequence)
        self._arrived[sequence.request_id] = sequence

    def schedule(self, step: Step) -> None:
        if not self._recorded:
            return
        # the real engine had nothing in flight there
        if step.previous is not None and self._recorded[0][0] in self._after_idle:
            return
        for row in self._recorded.popleft()[1]:
            sequence = self._arrived[row.request_id]
            if sequence not in self.running:
                self.running.append(sequence)
                if sequence in self.waiting:
                    self.waiting.remove(sequence)
            if row.num_computed_tokens == 0 and sequence.num_computed_tokens:
                sequence.drop_computed()
            sequence.num_computed_tokens = row.num_computed_tokens
            step.add(sequence, row.num_scheduled_tokens)


def steps_after_idle(steps: pd.DataFrame) -> frozenset[int]:
    """Those of a real run's `engine_steps` that were scheduled with nothing in flight."""
    ordered = steps.sort_values("step")
    idle = ordered["schedule_begin_ns"] > ordered["result_ns"].shift(1)
    return frozenset(ordered.loc[idle.fillna(False), "step"].tolist())


def anchored_token_ns(
    token_request: np.ndarray, token_ns: np.ndarray, simulated: Tables, recorded: Tables
) -> np.ndarray:
    """The tokens' times with each request moved to where it was first scheduled in the recording;
    shapes (tokens,). Raises `ArtifactError` for a batch whose step is missing.
    """
    shift = _first_schedule_ns(*recorded) - _first_schedule_ns(*simulated)
    moved: np.ndarray = token_ns + shift.reindex(token_request).to_numpy().astype(np.int64)
    return moved


def _first_schedule_ns(steps: pd.DataFrame, batches: pd.DataFrame) -> pd.Series:
    """When each request was first scheduled, by `request_id`."""
    first_step = batches.groupby("request_id")["step"].min()
    begin = steps.set_index("step")["schedule_begin_ns"].reindex(first_step.to_numpy())
    if begin.isna().any():
        missing = begin.index[begin.isna()][0]
        fault = f"engine_batches.csv has step {missing}, which is not in engine_steps.csv"
        raise ArtifactError(fault)
    return pd.Series(begin.to_numpy(), index=first_step.index)

"""Reading what `recording_scheduler` wrote: the engine's steps and who was in them, as tables."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gpu_timing_assets.core.errors import EngineError
from gpu_timing_assets.core.tables.schemas import OBSERVED
from gpu_timing_assets.engines.recorded_steps import RecordedSteps

SCHEDULED = ["step", "schedule_begin_ns", "schedule_end_ns"]
UPDATED = ["step", "update_begin_ns", "update_end_ns"]
OBSERVED_STEP = ["number", "num_tokens", "num_requests", *OBSERVED]
BATCHES = ["step", "name", "num_scheduled_tokens", "num_computed_tokens"]


class StepRecording:
    """See `gpu_timing_assets.engines.base.Recording`."""

    def __init__(self, path: Path) -> None:
        self.path, self._offset = path, 0
        self._scheduled, self._updated, self._batches = _frames([])
        self._observed = pd.DataFrame([], columns=OBSERVED_STEP, dtype="int64")

    def header(self) -> dict[str, Any]:
        """What the engine resolved. Raises `EngineError` if the engine never wrote it down."""
        try:
            with self.path.open(encoding="utf-8") as lines:
                kind, header = json.loads(lines.readline())
        except (OSError, ValueError):
            raise EngineError(
                f"the engine wrote no recording to {self.path}: its scheduler did not start"
            ) from None
        assert kind == "header"
        return header

    def read(self) -> RecordedSteps:
        with self.path.open("rb") as file:
            file.seek(self._offset)
            # the engine may be in the middle of a line
            whole = file.read().rpartition(b"\n")[0]
        self._offset += len(whole) + 1 if whole else 0
        scheduled, updated, batches = _frames([json.loads(line) for line in whole.splitlines()])
        self._scheduled = pd.concat([self._scheduled, scheduled], ignore_index=True)
        self._updated = pd.concat([self._updated, updated], ignore_index=True)
        self._batches = pd.concat([self._batches, batches], ignore_index=True)
        steps = self._scheduled.merge(self._updated.astype("Int64"), on="step", how="left")
        return RecordedSteps(self._with_observed(steps), self._batches)

    def add_observed(self, ranks: list[list[list[int]]]) -> None:
        """What `StepTimer.stop_step_times` returned on each rank: the GPUs begin with the first
        that is free; all else of a step is the last rank's, for whom the others wait at its first
        collective.

        Raises `EngineError` for ranks that did not run the same steps.
        """
        frames = [pd.DataFrame(rank, columns=OBSERVED_STEP, dtype="int64") for rank in ranks]
        observed, same = frames[0], ["number", "num_tokens", "num_requests"]
        for rank, frame in enumerate(frames):
            if not frame[same].equals(observed[same]):
                raise EngineError(
                    f"rank {rank} ran {len(frame)} steps and rank 0 {len(observed)}, not the same "
                    "ones: their times cannot be put together"
                )
        for name in OBSERVED:
            of_ranks = np.array([frame[name] for frame in frames])
            observed[name] = (
                of_ranks.min(axis=0) if name == "gpu_begin_ns" else of_ranks.max(axis=0)
            )
        self._observed = pd.concat([self._observed, observed], ignore_index=True)

    def _with_observed(self, steps: pd.DataFrame) -> pd.DataFrame:
        """The worker counts the steps that schedule tokens, which are those of the record."""
        tokens = self._batches.groupby("step")["num_scheduled_tokens"].sum()
        observed = self._observed[self._observed["number"] < len(steps)]
        steps = steps.assign(number=range(len(steps)))
        recorded = tokens.reindex(steps["step"]).to_numpy()[observed["number"]]
        if (wrong := recorded != observed["num_tokens"]).any():
            row = observed[wrong].iloc[0]
            raise EngineError(
                f"the worker's step {row['number']} had {row['num_tokens']} tokens, the "
                f"scheduler's {recorded[wrong][0]}: they are not the same steps"
            )
        times = observed[["number", *OBSERVED]].astype("Int64")
        return steps.merge(times, on="number", how="left").drop(columns="number")


def _frames(records: list[list[Any]]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """`(scheduled, updated, batches)` of the records of steps among these."""
    scheduled = [record for record in records if record[0] == "s"]
    updated = [record[1:4] for record in records if record[0] == "u"]
    batches = pd.DataFrame(
        [(record[1], *request) for record in scheduled for request in record[4]], columns=BATCHES
    )
    # vLLM appends a random suffix to the client's request id, which is `<tag>.<number>`
    client = batches.pop("name").astype("str").str.split("-", n=1).str[0]
    number = client.str.extract(r"\.(\d+)$")[0]
    return (
        pd.DataFrame([record[1:4] for record in scheduled], columns=SCHEDULED, dtype="int64"),
        pd.DataFrame(updated, columns=UPDATED, dtype="int64"),
        batches.astype("int64").assign(
            tag=client.str.rsplit(".", n=1).str[0], request_id=number.fillna("-1").astype("int64")
        ),
    )

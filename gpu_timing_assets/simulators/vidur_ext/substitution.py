"""Replaying recorded batches without letting the replay's clock run away from the recording's.

The batches of a real run, timed by a model that is 1 % slow, end 150 ms late after 15 s, and every
TTFT would be late by as much. So the batches are replayed back to back, and each request's times
start where the real engine first scheduled it: what is left is the time model's error within the
request's own life.
"""

import numpy as np
import pandas as pd

from gpu_timing_assets.core.errors import ArtifactError


def steps_after_idle(steps: pd.DataFrame) -> frozenset[int]:
    """Of a real run's `engine_steps`: those scheduled when the step before was processed already,
    so nothing was in flight.
    """
    ordered = steps.sort_values("step")
    idle = ordered["schedule_begin_ns"] > ordered["result_ns"].shift(1)
    return frozenset(ordered.loc[idle.fillna(False), "step"].tolist())


def first_schedule_ns(steps: pd.DataFrame, batches: pd.DataFrame) -> pd.Series:
    """When each request was first scheduled, by `request_id`. Raises `ArtifactError` for a batch
    whose step is not in `steps`.
    """
    first_step = batches.groupby("request_id")["step"].min()
    begin = steps.set_index("step")["schedule_begin_ns"].reindex(first_step.to_numpy())
    if begin.isna().any():
        raise ArtifactError(
            f"engine_batches.csv has step {begin.index[begin.isna()][0]}, which is not in "
            f"engine_steps.csv"
        )
    return pd.Series(begin.to_numpy(), index=first_step.index)


def anchored_token_ns(
    token_request: np.ndarray,
    token_ns: np.ndarray,
    simulated_first_ns: pd.Series,
    recorded_first_ns: pd.Series,
) -> np.ndarray:
    """The tokens' times with each request moved to where it was first scheduled in the recording;
    shapes (tokens,).
    """
    shift = (recorded_first_ns - simulated_first_ns).reindex(token_request).to_numpy()
    return token_ns + shift.astype(np.int64)

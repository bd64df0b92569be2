"""What a run says in two places must agree: its metadata, its requests, its engine's steps.

A manifest shows that a file is the one that was filed; this shows that the files are of one run.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.run import RUN_META_FILE, RealRunMeta, SimRunMeta
from gpu_timing_assets.core.tables.schemas import ENGINE_BATCHES, ENGINE_STEPS, REQUEST_METRICS

if TYPE_CHECKING:
    from gpu_timing_assets.compare.gate.load import Run

# its steps follow each other without a pause, on a clock of their own
BACK_TO_BACK = "recorded_batches"
REMEDY = "take the run anew from where it came from, or run its stage again"


def check_counts(run: "Run") -> None:
    """Raises `ArtifactError` if the tables do not have the sizes that the metadata say."""
    requests, meta = run.requests, run.meta
    found: dict[str, float] = {"num_tokens": int(requests["num_decode_tokens_actual"].sum())}
    if isinstance(meta, RealRunMeta):
        found["num_requests"] = len(requests)
        found["num_failed"] = int((requests["status"] == "error").sum())
    if isinstance(meta, SimRunMeta):
        found["simulated_s"] = float(requests["completion_time_ns"].fillna(0).max()) / 1e9
        if run.steps is not None and meta.num_steps is not None:
            found["num_steps"] = len(run.steps)
    for name, value in found.items():
        stated = getattr(meta, name)
        if not math.isclose(value, stated, rel_tol=1e-12):
            raise ArtifactError(
                f"{run.directory}: its tables have {name} {value:.12g}, its {RUN_META_FILE} says "
                f"{stated:.12g}: {REMEDY}"
            )


def check_steps_against_requests(run: "Run") -> None:
    """Raises `ArtifactError` naming the first step or request where steps, batches and requests
    of a run that recorded them do not fit: a step is missing, a request's last token was in none,
    or its times lie outside of its steps.
    """
    if run.steps is None or run.batches is None:
        return
    steps, batches = run.steps, run.batches
    _refuse_step(run, ENGINE_STEPS.file, batches["step"][~batches["step"].isin(steps["step"])])
    if run.is_real:  # a simulation has steps with nobody in them
        _refuse_step(run, ENGINE_BATCHES.file, steps["step"][~steps["step"].isin(batches["step"])])
    served = run.requests[run.requests["status"] == "ok"].set_index("request_id")
    mine = batches.groupby("request_id")["step"]
    end = batches["num_computed_tokens"] + batches["num_scheduled_tokens"]
    reached = end.groupby(batches["request_id"]).max().reindex(served.index).fillna(0)
    # the last token is made, and put into no step any more
    needed = served["num_prefill_tokens"] + served["num_decode_tokens_actual"] - 1
    _refuse_request(run, served, reached < needed, "its last token was made in no recorded step")
    if run.substitution == BACK_TO_BACK:
        return
    by_step = steps.set_index("step")
    first_end_ns = by_step["schedule_end_ns"].reindex(mine.min().reindex(served.index))
    last_result_ns = by_step["result_ns"].reindex(mine.max().reindex(served.index))
    early = first_end_ns.to_numpy(dtype=float) < served["arrival_time_ns"].to_numpy(dtype=float)
    _refuse_request(run, served, early, "it was scheduled before it arrived")
    completion_ns = served["completion_time_ns"].to_numpy(dtype=float)
    before = completion_ns < last_result_ns.to_numpy(dtype=float, na_value=np.nan)
    _refuse_request(run, served, before, "its last token came before the step that made it ended")


def _refuse_step(run: "Run", file: str, missing: pd.Series) -> None:
    if len(missing):
        raise ArtifactError(f"{run.directory / file} has no step {missing.iloc[0]}: {REMEDY}")


def _refuse_request(
    run: "Run", served: pd.DataFrame, bad: "pd.Series | np.ndarray", why: str
) -> None:
    wrong = np.asarray(bad, dtype=bool)
    if wrong.any():
        path = REQUEST_METRICS.find(run.directory)
        raise ArtifactError(f"{path}, request {served.index[int(wrong.argmax())]}: {why}: {REMEDY}")

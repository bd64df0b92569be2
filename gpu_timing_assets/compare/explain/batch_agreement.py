"""From which step on two engines put different requests into their batches."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from gpu_timing_assets.compare.gate.align import Aligned
from gpu_timing_assets.compare.gate.load import Run
from gpu_timing_assets.compare.result_table import Column, table

ENTRY = ["request_id", "num_scheduled_tokens", "num_computed_tokens"]
REAL_RUN = Column("real_run", "a real run")
OTHER_RUN = Column("other_run", "the run held against it")
BATCH_AGREEMENT = table(
    "batch_agreement",
    REAL_RUN,
    OTHER_RUN,
    Column("other", "name of the simulation, or real"),
    Column("real_steps", "steps with requests in the real run", "steps"),
    Column("other_steps", "steps with requests in the other", "steps"),
    Column("first_different_step", "first step that differs, from 0; empty if none"),
)
FIRST_DIFFERENCE = table(
    "first_difference",
    REAL_RUN,
    OTHER_RUN,
    Column("step", "first step that differs, from 0"),
    Column("in_run", "whose batch this row is of"),
    Column("request_id", "request in the batch"),
    Column("num_scheduled_tokens", "its tokens in the step", "tokens"),
    Column("num_computed_tokens", "its tokens computed before the step", "tokens"),
)


@dataclass(frozen=True)
class Agreement:
    """`first_different` counts the non-empty steps from 0; `None` if all are equal."""

    first_different: int | None
    steps: tuple[int, int]
    batches: tuple[pd.DataFrame, pd.DataFrame]


def agreement(one: pd.DataFrame, two: pd.DataFrame) -> Agreement:
    """Hold two runs' batches against each other, step by step: same requests, scheduled and
    computed tokens.

    A step's requests are a set: their order within it is not compared.
    """
    ordered = [_ordered(batches) for batches in (one, two)]
    entries = [batches[["ordinal", *ENTRY]].to_numpy() for batches in ordered]
    shared = min(len(entries[0]), len(entries[1]))
    differs = (entries[0][:shared] != entries[1][:shared]).any(axis=1)
    steps = [int(batches["ordinal"].iloc[-1]) + 1 if len(batches) else 0 for batches in ordered]
    if differs.any():
        at = int(differs.argmax())
        first = int(min(entries[0][at, 0], entries[1][at, 0]))
    elif len(entries[0]) != len(entries[1]):
        longer = max(entries, key=len)
        first = int(longer[shared, 0])
    else:
        first = None
    at_first = [batches.loc[batches["ordinal"] == first, ENTRY] for batches in ordered]
    return Agreement(first, (steps[0], steps[1]), (at_first[0], at_first[1]))


def _ordered(batches: pd.DataFrame) -> pd.DataFrame:
    by_step = batches.sort_values(["step", "request_id"], kind="stable")
    return by_step.assign(ordinal=np.unique(by_step["step"].to_numpy(), return_inverse=True)[1])


def batch_agreement(aligned: Aligned) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`(BATCH_AGREEMENT, FIRST_DIFFERENCE)`: every simulation and every other real run against the
    first real run.

    One row a pair; and both batches of the first step that differs, one row a request. Runs that
    did not record their batches are left out.
    """
    real = [aligned_run.run for aligned_run in aligned.real if aligned_run.run.batches is not None]
    pairs: list[tuple[Run, Run]] = list(combinations(real, 2))
    simulated = [simulation.run for simulation in aligned.simulated]
    pairs += [(real[0], run) for run in simulated if real and run.batches is not None]
    rows, entries = [], []
    for one, two in pairs:
        assert one.batches is not None
        assert two.batches is not None
        found = agreement(one.batches, two.batches)
        pair = dict(real_run=one.meta.run_id, other_run=two.meta.run_id)
        rows.append(
            dict(
                **pair,
                other="real" if two.is_real else two.label,
                real_steps=found.steps[0],
                other_steps=found.steps[1],
                first_different_step=found.first_different,
            )
        )
        for run, batch in zip((one, two), found.batches, strict=True):
            where = dict(**pair, step=found.first_different, in_run=run.meta.run_id)
            entries += [{**where, **entry} for entry in batch.to_dict("records")]
    summary = BATCH_AGREEMENT.frame(rows).astype({"first_different_step": "Int64"})
    return summary, FIRST_DIFFERENCE.frame(entries)

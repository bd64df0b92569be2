"""From which step on a simulated engine and the real one, or two real runs, put different requests
into their batches.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from gpu_timing_assets.compare.gate.align import Aligned
from gpu_timing_assets.compare.gate.load import Run

ENTRY = ["request_id", "num_scheduled_tokens", "num_computed_tokens"]


@dataclass(frozen=True)
class Agreement:
    """`first_different` counts the non-empty steps of a run from 0; `None` if all of both runs' are
    equal.
    """

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
    steps = tuple(
        int(batches["ordinal"].iloc[-1]) + 1 if len(batches) else 0 for batches in ordered
    )
    if differs.any():
        at = int(differs.argmax())
        first = int(min(entries[0][at, 0], entries[1][at, 0]))
    elif len(entries[0]) != len(entries[1]):
        longer = max(entries, key=len)
        first = int(longer[shared, 0])
    else:
        first = None
    at_first = tuple(batches.loc[batches["ordinal"] == first, ENTRY] for batches in ordered)
    return Agreement(first, (steps[0], steps[1]), (at_first[0], at_first[1]))


def _ordered(batches: pd.DataFrame) -> pd.DataFrame:
    by_step = batches.sort_values(["step", "request_id"], kind="stable")
    return by_step.assign(ordinal=np.unique(by_step["step"].to_numpy(), return_inverse=True)[1])


def batch_agreement(aligned: Aligned) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`(agreement, first_difference)`: every simulation and every other real run against the first
    real run.

    `agreement`: one row a pair; `first_difference`: both batches of the first step that differs,
    one row a request. Runs that did not record their batches are left out.
    """
    real = [series.run for series in aligned.real if series.run.batches is not None]
    pairs: list[tuple[Run, Run]] = list(combinations(real, 2))
    pairs += [
        (real[0], series.run)
        for series in aligned.simulated
        if real and series.run.batches is not None
    ]
    rows, entries = [], []
    for one, two in pairs:
        assert one.batches is not None
        assert two.batches is not None
        found = agreement(one.batches, two.batches)
        rows.append(
            (
                one.meta.run_id,
                two.meta.run_id,
                two.label if two.meta.run_type == "simulated" else "real",
                found.steps[0],
                found.steps[1],
                found.first_different,
            )
        )
        for run, batch in zip((one, two), found.batches, strict=True):
            entries += [
                (one.meta.run_id, two.meta.run_id, found.first_different, run.meta.run_id, *values)
                for values in batch.to_numpy()
            ]
    columns = [
        "real_run",
        "other_run",
        "other",
        "real_steps",
        "other_steps",
        "first_different_step",
    ]
    return (
        pd.DataFrame(rows, columns=columns).astype({"first_different_step": "Int64"}),
        pd.DataFrame(entries, columns=["real_run", "other_run", "step", "in_run", *ENTRY]),
    )

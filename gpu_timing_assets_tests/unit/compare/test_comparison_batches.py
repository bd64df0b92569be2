"""The first step at which two engines' batches differ."""

import pandas as pd
import pytest

from gpu_timing_assets.compare.explain.batch_agreement import agreement
from gpu_timing_assets.compare.gate.load import load_run
from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.run import RealRunMeta, read_complete_run
from gpu_timing_assets_tests.unit.compare.synthetic_runs import MS, write_run

COLUMNS = ["step", "request_id", "num_scheduled_tokens", "num_computed_tokens"]
REAL = [(0, 1, 64, 0), (1, 1, 1, 64), (1, 2, 32, 0), (2, 1, 1, 65), (2, 2, 1, 32)]


def batches(rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS)


def test_equal_batches_agree_whatever_their_order_and_numbering() -> None:
    renumbered = [(10 + 3 * step, *rest) for step, *rest in reversed(REAL)]
    found = agreement(batches(REAL), batches(renumbered))
    assert (found.first_different, found.steps) == (None, (3, 3))
    assert all(batch.empty for batch in found.batches)


@pytest.mark.parametrize(
    ("changed", "first"),
    [
        ([(0, 1, 63, 0), *REAL[1:]], 0),  # another chunk
        ([*REAL[:2], (1, 3, 32, 0), *REAL[3:]], 1),  # another request
        ([*REAL[:2], *[(2, *row[1:]) for row in REAL[3:]]], 1),  # one request came later
        (REAL[:3], 2),  # ended early
        ([*REAL, (3, 1, 1, 66)], 3),  # went on
        ([*REAL[:4], (2, 2, 1, 31)], 2),  # recomputed
        ([], 0),
    ],
)
def test_the_first_different_step_is_found(changed, first) -> None:
    found = agreement(batches(REAL), batches(changed))
    assert found.first_different == first
    mirrored = agreement(batches(changed), batches(REAL))
    assert (mirrored.first_different, mirrored.steps) == (first, found.steps[::-1])


def test_both_batches_of_that_step_are_shown() -> None:
    changed = [*REAL[:2], (1, 3, 16, 0), *REAL[3:]]
    real, simulated = agreement(batches(REAL), batches(changed)).batches
    assert real["request_id"].tolist() == [1, 2]
    assert simulated[["request_id", "num_scheduled_tokens"]].values.tolist() == [[1, 1], [3, 16]]


def damaged(tmp_path, file: str, old: str, new: str):
    directory = write_run(tmp_path / "real", [0, 0], [[1 * MS, 2 * MS], [3 * MS]])
    text = (directory / file).read_text()
    assert old in text
    (directory / file).write_text(text.replace(old, new, 1))
    return load_run(directory, read_complete_run(directory, RealRunMeta), "real")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "engine_batches.csv",
            "2,1,1,8\n",
            "2,1,1,8\n2,1,5,0\n",
            "row 5: the same step, request_id as a row before",
        ),
        (
            "engine_batches.csv",
            "2,1,1,8",
            "2,7,1,8",
            "row 4: its request is not in request_metrics.csv",
        ),
        ("engine_batches.csv", "2,1,1,8", "2,1,0,8", "row 4: num_scheduled_tokens is below 1"),
        ("engine_steps.csv", "\n2,", "\n1,", "row 4: the same step as a row before"),
        (
            "engine_steps.csv",
            "\n2,2000000,2500000",
            "\n2,900000,2500000",
            "row 4: schedule_begin_ns is below that of the row before it",
        ),
        (
            "engine_steps.csv",
            "\n2,2000000,2500000",
            "\n2,2000000,1900000",
            "row 4: schedule_end_ns is before schedule_begin_ns",
        ),
        (
            "engine_steps.csv",
            "2500000,3000000",
            "2500000,1900000",
            "row 4: result_ns is before schedule_begin_ns",
        ),
    ],
)
def test_steps_and_batches_that_cannot_be_are_refused_with_their_row(
    tmp_path, file, old, new, message
) -> None:
    with pytest.raises(ArtifactError, match=rf"{file}, {message}"):
        damaged(tmp_path, file, old, new)


def test_a_step_whose_result_was_not_recorded_is_no_fault(tmp_path) -> None:
    run = damaged(tmp_path, "engine_steps.csv", "2500000,3000000", "2500000,")
    assert run.steps["result_ns"].isna().tolist() == [False, False, True]


def test_a_run_without_steps_is_no_fault(tmp_path) -> None:
    directory = write_run(tmp_path / "real", [0], [[1 * MS]], with_steps=False)
    run = load_run(directory, read_complete_run(directory, RealRunMeta), "real")
    assert run.steps is run.batches is None

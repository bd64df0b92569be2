"""The first step at which two engines' batches differ."""

from dataclasses import replace

import pandas as pd
import pytest

from gpu_timing_assets.artifacts.errors import ArtifactError
from gpu_timing_assets.comparison.batch_agreement import agreement, check_batches
from gpu_timing_assets.comparison.load import load_run
from gpu_timing_assets_tests.unit.comparison.synthetic_runs import MS, metadata, write_run

COLUMNS = ["step", "request_id", "num_scheduled_tokens", "num_computed_tokens"]
REAL = [(0, 1, 64, 0), (1, 1, 1, 64), (1, 2, 32, 0), (2, 1, 1, 65), (2, 2, 1, 32)]


def batches(rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS)


def test_equal_batches_agree_whatever_their_order_and_numbering() -> None:
    renumbered = [(10 + 3 * step, *rest) for step, *rest in reversed(REAL)]
    found = agreement(batches(REAL), batches(renumbered))
    assert (found.first_different, found.steps) == (None, (3, 3))
    assert all(batch.empty for batch in found.batches)


@pytest.mark.parametrize(("changed", "first"), [
    ([(0, 1, 63, 0), *REAL[1:]], 0),                                    # another chunk
    ([*REAL[:2], (1, 3, 32, 0), *REAL[3:]], 1),                         # another request
    ([*REAL[:2], *[(2, *row[1:]) for row in REAL[3:]]], 1),             # one request came later
    (REAL[:3], 2),                                                      # ended early
    ([*REAL, (3, 1, 1, 66)], 3),                                        # went on
    ([*REAL[:4], (2, 2, 1, 31)], 2),                                    # recomputed
    ([], 0),
])
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


@pytest.mark.parametrize(("row", "message"), [("0,0,5,0", "row 5: request 0 stands twice in its step"),
                                              ("9,7,1,0", "row 5: request 7 is not in request_metrics.csv")])
def test_batches_that_cannot_be_are_refused_with_their_row(tmp_path, row, message) -> None:
    directory = write_run(tmp_path / "real", [0, 0], [[1 * MS, 2 * MS], [3 * MS]])
    with (directory / "engine_batches.csv").open("a") as file:
        file.write(row + "\n")
    with pytest.raises(ArtifactError, match=rf"engine_batches\.csv, {message}"):
        check_batches(load_run(directory, metadata("real"), "real"))


def test_a_run_without_batches_is_no_fault(tmp_path) -> None:
    directory = write_run(tmp_path / "real", [0], [[1 * MS]], with_steps=False)
    run = load_run(directory, metadata("real"), "real")
    assert run.batches is None
    check_batches(replace(run, label="again"))

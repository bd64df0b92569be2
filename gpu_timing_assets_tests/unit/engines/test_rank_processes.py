"""The processes of a model's ranks end together, and a fault names the rank."""

import json
import time

import pytest

from gpu_timing_assets.core.errors import EngineError, OutOfMemoryError, WorkloadError
from gpu_timing_assets.engines.rank_processes import run_rank_processes
from gpu_timing_assets_tests.unit.engines.test_child_process import assert_gone

RANK = "gpu_timing_assets_tests.unit.engines.helper_rank"


def run_ranks(scratch, *do: str, timeout_s: float = 60):
    return run_rank_processes(RANK, {"do": do}, scratch, len(do), timeout_s)


def assert_none_left(scratch) -> None:
    for directory in scratch.iterdir():
        # one that was ended before it began its work had told of no process
        if (directory / "pids.json").is_file():
            assert_gone(directory)


def test_ranks_that_succeed_leave_their_results_and_no_process(tmp_path) -> None:
    first = run_ranks(tmp_path, "succeed", "succeed")
    assert (first / "result.txt").read_text() == "done"
    requests = [json.loads(file.read_text())["rank"] for file in tmp_path.glob("*/request.json")]
    assert sorted(rank["index"] for rank in requests) == [0, 1]
    assert len({rank["meeting_point"] for rank in requests}) == 1
    assert_none_left(tmp_path)


@pytest.mark.parametrize(
    ("do", "error", "message"),
    [
        ("fail", WorkloadError, "^rank 1 of 2: row 7 is wrong: mend it$"),
        ("crash", EngineError, "^rank 1 of 2: .*ZeroDivisionError: in the engine"),
        ("end by 9", OutOfMemoryError, "^rank 1 of 2: .*SIGKILL"),
    ],
)
def test_a_rank_that_fails_is_named_and_takes_the_others_with_it(
    tmp_path, do, error, message
) -> None:
    begin = time.monotonic()
    with pytest.raises(error, match=message):
        run_ranks(tmp_path, "wait", do)
    assert time.monotonic() - begin < 30
    assert_none_left(tmp_path)


def test_a_rank_that_hangs_is_named_and_ended(tmp_path) -> None:
    with pytest.raises(EngineError, match=r"^rank 1 of 2 had not ended after 5 s: .*start_timeout"):
        run_ranks(tmp_path, "succeed", "wait", timeout_s=5)
    assert_none_left(tmp_path)

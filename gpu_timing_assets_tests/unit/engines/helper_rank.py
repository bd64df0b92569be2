"""A rank that does what its request says to it. Run by `run_rank_processes`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpu_timing_assets.engines.child_process import engine_process_main
from gpu_timing_assets.engines.rank_processes import rank_of
from gpu_timing_assets_tests.unit.engines import helper_child


def work(request: dict[str, Any], scratch: Path, report: Callable[[str], None]) -> None:
    rank = rank_of(request)
    assert rank.count == len(request["do"])
    helper_child.work({"do": request["do"][rank.index]}, scratch, report)


if __name__ == "__main__":
    engine_process_main(work)

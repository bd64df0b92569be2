"""The process of one rank that times collectives: all ranks make the same calls."""

from pathlib import Path
from typing import Any

from gpu_timing_assets.config.experiment import validate
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.engines.base import Report, engine_plugin
from gpu_timing_assets.engines.child_process import engine_process_main
from gpu_timing_assets.engines.rank_processes import rank_of
from gpu_timing_assets.measure.profiling.kernel_grid import (
    request_counts,
    time_by_requests,
    time_by_tokens,
    token_counts,
)
from gpu_timing_assets.measure.profiling.kernel_timer import KernelTimer
from gpu_timing_assets.measure.profiling.parts import ALL_REDUCES, LOGITS_GATHERS


def work(request: dict[str, Any], scratch: Path, report: Report) -> None:
    """Each rank writes what it has measured; they differ by what the later one is waited for."""
    config = validate(request["config"], "the request")
    params = EngineParams.model_validate(request["params"])
    rank, grid = rank_of(request), config.profiling
    join = engine_plugin(config.backend.name).collectives
    assert join is not None
    collectives = join(config, params, rank)
    told = report if rank.index == 0 else _untold
    timer = KernelTimer(config.hardware.device, grid.repeats, grid.warmup_repeats)
    reduces = collectives.all_reduces(token_counts(grid, params))
    time_by_tokens(ALL_REDUCES, reduces, timer, scratch, told)
    gathers = collectives.logits_gathers(request_counts(grid, params))
    time_by_requests(LOGITS_GATHERS, gathers, timer, scratch, told)
    collectives.shutdown()


def _untold(line: str) -> None:
    """What another rank reports already."""


if __name__ == "__main__":
    engine_process_main(work)

"""The process of one rank that times collectives: all ranks make the same calls."""

from pathlib import Path
from typing import Any

from gpu_timing_assets.config.experiment import validate
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.engines.base import Report, engine_plugin
from gpu_timing_assets.engines.child_process import engine_process_main
from gpu_timing_assets.engines.rank_processes import rank_of
from gpu_timing_assets.measure.profiling.kernel_grid import (
    measure_part,
    request_counts,
    token_counts,
)
from gpu_timing_assets.measure.profiling.kernel_timer import KernelTimer
from gpu_timing_assets.measure.profiling.parts import (
    ALL_REDUCES,
    LOGITS_GATHERS,
    HeadTime,
    LinearTime,
)


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
    reduces = (
        LinearTime(num_tokens=tokens, time=timer.time(operator))
        for tokens, operator in collectives.all_reduces(token_counts(grid, params))
    )
    measure_part(ALL_REDUCES, reduces, scratch, told)
    gathers = (
        HeadTime(num_requests=count, time=timer.time(operator))
        for count, operator in collectives.logits_gathers(request_counts(grid, params))
    )
    measure_part(LOGITS_GATHERS, gathers, scratch, told)
    collectives.shutdown()


def _untold(line: str) -> None:
    """What another rank reports already."""


if __name__ == "__main__":
    engine_process_main(work)

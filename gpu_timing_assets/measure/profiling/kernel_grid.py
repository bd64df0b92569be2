"""What both of the processes that time kernels do: their grid, and how they write a part of it."""

import time
from collections.abc import Iterable
from pathlib import Path

from gpu_timing_assets.config.profiling import ProfilingPreset
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.errors import ProfilingBundleError
from gpu_timing_assets.engines.base import Operator, Report
from gpu_timing_assets.measure.profiling.kernel_timer import KernelTimer
from gpu_timing_assets.measure.profiling.parts import HeadTime, LinearTime, Part, RowT

REPORT_INTERVAL_S = 5


def token_counts(grid: ProfilingPreset, params: EngineParams) -> list[int]:
    """The grid's within the token budget, and those that CUDA graphs are padded to."""
    padded = {size for size in params.graph_capture_sizes if size in (1, 2, 4) or size % 32 == 0}
    return sorted({min(n, params.max_num_batched_tokens) for n in grid.num_tokens} | padded)


def request_counts(grid: ProfilingPreset, params: EngineParams) -> list[int]:
    """The grid's within the engine's limit."""
    return sorted({min(n, params.max_num_seqs) for n in grid.num_requests})


def time_by_tokens(
    part: Part[LinearTime],
    operators: Iterable[tuple[int, Operator]],
    timer: KernelTimer,
    parts: Path,
    report: Report,
) -> None:
    """Measure a part whose operators come by the number of tokens."""
    rows = (LinearTime(num_tokens=n, time=timer.time(operator)) for n, operator in operators)
    measure_part(part, rows, parts, report)


def time_by_requests(
    part: Part[HeadTime],
    operators: Iterable[tuple[int, Operator]],
    timer: KernelTimer,
    parts: Path,
    report: Report,
) -> None:
    """Measure a part whose operators come by the number of requests."""
    rows = (HeadTime(num_requests=n, time=timer.time(operator)) for n, operator in operators)
    measure_part(part, rows, parts, report)


def measure_part(part: Part[RowT], rows: Iterable[RowT], parts: Path, report: Report) -> None:
    if part.is_in(parts):
        report(f"{part.what}: measured before the interruption")
        return
    begin, reported, measured = time.monotonic(), 0.0, []
    for row in rows:
        measured.append(row)
        if time.monotonic() - reported > REPORT_INTERVAL_S:
            reported = time.monotonic()
            report(f"{part.what}: {len(measured)} timings, {reported - begin:.0f} s")
    if not measured:
        raise ProfilingBundleError(
            f"the profiling preset has no grid point of {part.what} within the engine's limits: "
            "widen it"
        )
    duration_s = time.monotonic() - begin
    part.write(measured, duration_s, parts)
    report(f"{part.what}: {len(measured)} timings in {duration_s:.0f} s")

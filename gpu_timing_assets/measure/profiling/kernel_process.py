"""The process that times kernels: one part after the other, each written when it is whole."""

import time
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

from gpu_timing_assets.config.experiment import validate
from gpu_timing_assets.config.profiling import ProfilingPreset
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.errors import ProfilingBundleError
from gpu_timing_assets.core.files import read_metadata
from gpu_timing_assets.engines.base import ModelOperators, Report, engine_plugin
from gpu_timing_assets.engines.child_process import engine_process_main
from gpu_timing_assets.engines.device import exclusive_device
from gpu_timing_assets.engines.session import SESSION_FILE, Session
from gpu_timing_assets.measure.profiling.kernel_timer import KernelTimer
from gpu_timing_assets.measure.profiling.parts import (
    ATTENTION_CASES,
    HEADS,
    LINEARS,
    AttentionTime,
    HeadTime,
    LinearTime,
    Part,
    RowT,
)

REPORT_INTERVAL_S = 5


def work(request: dict[str, Any], scratch: Path, report: Report) -> None:
    """Time what is not in `scratch` yet. The session of the engine's bursts must be there."""
    config = validate(request["config"], "the request")
    params = read_metadata(scratch / SESSION_FILE, Session).params
    make_operators = engine_plugin(config.backend.name).operators
    assert make_operators is not None
    hardware, grid = config.hardware, config.profiling
    with exclusive_device(hardware, config.backend.tensor_parallel_size, report):
        operators = make_operators(config, params)
        timer = KernelTimer(hardware.device, grid.repeats, grid.warmup_repeats)
        linears = (
            LinearTime(num_tokens=tokens, time=timer.time(operator))
            for tokens, operator in operators.linears(_token_counts(grid, params))
        )
        _measure(LINEARS, linears, scratch, report)
        requests = sorted({min(n, params.max_num_seqs) for n in grid.num_requests})
        heads = (
            HeadTime(num_requests=count, time=timer.time(operator))
            for count, operator in operators.head(requests)
        )
        _measure(HEADS, heads, scratch, report)
        _measure(ATTENTION_CASES, _attention(operators, timer, grid, params), scratch, report)


def _token_counts(grid: ProfilingPreset, params: EngineParams) -> list[int]:
    """The grid's within the token budget, and those that CUDA graphs are padded to."""
    padded = {size for size in params.graph_capture_sizes if size in (1, 2, 4) or size % 32 == 0}
    return sorted({min(n, params.max_num_batched_tokens) for n in grid.num_tokens} | padded)


def _attention(
    operators: ModelOperators, timer: KernelTimer, grid: ProfilingPreset, params: EngineParams
) -> Iterator[AttentionTime]:
    """Of the grid what the engine's limits allow, decode first."""
    save_sizes = sorted({*grid.decode_batch_sizes, *grid.prefill_chunk_tokens})
    saves = {tokens: timer.time(operators.kv_cache_save(tokens)) for tokens in save_sizes}
    for batch_size, context in product(grid.decode_batch_sizes, grid.decode_context_tokens):
        fits = batch_size <= params.max_num_seqs and context <= params.max_model_len
        if fits and batch_size * context <= grid.max_kv_tokens:
            yield AttentionTime(
                batch_size=batch_size,
                prefill_chunk_size=0,
                kv_cache_size=context,
                attend=timer.time(operators.decode_attention(batch_size, context)),
                save=saves[batch_size],
            )
    for chunk, context in product(grid.prefill_chunk_tokens, grid.prefill_context_tokens):
        if chunk <= params.max_num_batched_tokens and chunk + context <= params.max_model_len:
            yield AttentionTime(
                batch_size=1,
                prefill_chunk_size=chunk,
                kv_cache_size=context,
                attend=timer.time(operators.prefill_attention(chunk, context)),
                save=saves[chunk],
            )


def _measure(part: Part[RowT], rows: Iterable[RowT], parts: Path, report: Report) -> None:
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


if __name__ == "__main__":
    engine_process_main(work)

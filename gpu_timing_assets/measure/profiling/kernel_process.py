"""The process that times kernels: one part after the other, each written when it is whole."""

import shutil
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from gpu_timing_assets.config.experiment import ExperimentConfig, validate
from gpu_timing_assets.config.profiling import ProfilingPreset
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.files import read_metadata
from gpu_timing_assets.core.machine import slowdown
from gpu_timing_assets.engines.base import ModelOperators, Report, engine_plugin
from gpu_timing_assets.engines.child_process import engine_process_main
from gpu_timing_assets.engines.device import exclusive_device
from gpu_timing_assets.engines.rank_processes import run_rank_processes
from gpu_timing_assets.engines.session import SESSION_FILE, Session
from gpu_timing_assets.measure.profiling.kernel_grid import (
    measure_part,
    request_counts,
    time_by_requests,
    time_by_tokens,
    token_counts,
)
from gpu_timing_assets.measure.profiling.kernel_timer import KernelTimer
from gpu_timing_assets.measure.profiling.parts import (
    ATTENTION_CASES,
    COLLECTIVE_PARTS,
    HEADS,
    LINEARS,
    AttentionTime,
)

RANKS_DIR = "ranks"


def work(request: dict[str, Any], scratch: Path, report: Report) -> None:
    """Time what is not in `scratch` yet. The session of the engine's bursts must be there."""
    config = validate(request["config"], "the request")
    params = read_metadata(scratch / SESSION_FILE, Session).params
    make_operators = engine_plugin(config.backend.name).operators
    assert make_operators is not None
    hardware, grid, num_devices = config.hardware, config.profiling, params.tensor_parallel_size
    with exclusive_device(hardware, num_devices, report):
        if num_devices > 1:
            # before this process holds memory on the first rank's device
            _time_collectives(config, params, scratch)
        operators = make_operators(config, params)
        timer = KernelTimer(hardware.device, grid.repeats, grid.warmup_repeats)
        linears = operators.linears(token_counts(grid, params))
        time_by_tokens(LINEARS, linears, timer, scratch, report)
        heads = operators.head(request_counts(grid, params))
        time_by_requests(HEADS, heads, timer, scratch, report)
        measure_part(ATTENTION_CASES, _attention(operators, timer, grid, params), scratch, report)


def _time_collectives(config: ExperimentConfig, params: EngineParams, scratch: Path) -> None:
    """In a process for each rank; the parts are those of rank 0.

    Raises as `run_rank_processes`.
    """
    if all(part.is_in(scratch) for part in COLLECTIVE_PARTS):
        return
    ranks = scratch / RANKS_DIR
    # what one rank of an interrupted profile has measured, no other would wait for
    shutil.rmtree(ranks, ignore_errors=True)
    first = run_rank_processes(
        "gpu_timing_assets.measure.profiling.collective_process",
        {"config": config.model_dump(mode="json"), "params": params.model_dump(mode="json")},
        ranks,
        params.tensor_parallel_size,
        config.backend.start_timeout_s * max(1.0, slowdown()),
    )
    for part in COLLECTIVE_PARTS:
        (first / part.file).rename(scratch / part.file)
    shutil.rmtree(ranks)


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


if __name__ == "__main__":
    engine_process_main(work)

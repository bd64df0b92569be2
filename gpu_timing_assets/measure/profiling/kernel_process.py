"""The process that times kernels: one part after the other, each written when it is whole."""

import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gpu_timing_assets.config.experiment import ExperimentConfig, validate
from gpu_timing_assets.config.model_card import read_model_dimensions
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.errors import DeviceError, ProfilingBundleError
from gpu_timing_assets.core.files import read_json, write_json
from gpu_timing_assets.engines.child_process import engine_process_main
from gpu_timing_assets.engines.device import exclusive_device
from gpu_timing_assets.engines.vllm.surface import (
    check_surface,
    limit_instruction_set,
    native_library,
)
from gpu_timing_assets.measure.profiling.kernels import KernelBench, KernelTime
from gpu_timing_assets.measure.profiling.parts import (
    ATTENTION_PART,
    HEAD_PART,
    LINEARS_PART,
    SESSION_FILE,
)


def work(request: dict[str, Any], scratch: Path, report: Callable[[str], None]) -> None:
    """Time what is not in `scratch` yet. The engine's resolved parameters must be there."""
    config = validate(request["config"], "the request")
    params = EngineParams.model_validate(read_json(scratch / SESSION_FILE)["params"])
    if config.hardware.omp_num_threads:
        os.environ["OMP_NUM_THREADS"] = str(config.hardware.omp_num_threads)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    with exclusive_device(config.hardware, config.backend.tensor_parallel_size, report):
        try:
            limit_instruction_set(config.hardware.cpu_instruction_set)
            check_surface(config.hardware.device)
            bench = _bench(config, params)
        except ImportError as error:
            raise DeviceError(
                f"torch or vLLM cannot be imported here ({error}): install the lock for this "
                f"machine"
            ) from None
        if (
            config.hardware.device == "cpu"
            and (library := native_library()) != params.native_library
        ):
            raise ProfilingBundleError(
                f"the engine's bursts ran on vLLM's {params.native_library}, kernels would be "
                f"timed on {library}: "
                "measure both on one machine (`vidur-profile --force`)"
            )
        if config.hardware.device == "cpu" and config.hardware.omp_num_threads:
            import torch

            torch.set_num_threads(config.hardware.omp_num_threads)
        grid, limit = config.profiling, params.max_num_batched_tokens
        counts = sorted(
            {min(tokens, limit) for tokens in grid.num_tokens}
            | {size for size in params.graph_capture_sizes if size in (1, 2, 4) or size % 32 == 0}
        )
        _part(
            scratch / LINEARS_PART,
            report,
            "linears and norms",
            ([n, dataclasses.asdict(k)] for n, k in bench.linears(counts)),
        )
        requests = sorted({min(n, params.max_num_seqs) for n in grid.num_requests})
        _part(
            scratch / HEAD_PART,
            report,
            "lm_head and sampler",
            ([n, dataclasses.asdict(k)] for n, k in bench.head(requests)),
        )
        _part(scratch / ATTENTION_PART, report, "attention", _attention(bench, config, params))


def _bench(config: ExperimentConfig, params: EngineParams) -> KernelBench:
    return KernelBench(
        read_model_dimensions(config.model),
        params.dtype,
        config.hardware.device,
        params.kv_block_size,
        params.attention_backend,
        params.tensor_parallel_size,
        config.profiling.repeats,
        config.profiling.warmup_repeats,
    )


def _attention(
    bench: KernelBench, config: ExperimentConfig, params: EngineParams
) -> Iterable[list[Any]]:
    grid = config.profiling
    saves: dict[int, KernelTime] = dict(
        bench.kv_cache_saves(sorted({*grid.decode_batch_sizes, *grid.prefill_chunk_tokens}))
    )
    for batch_size in grid.decode_batch_sizes:
        for context in grid.decode_context_tokens:
            if (
                batch_size <= params.max_num_seqs
                and context <= params.max_model_len
                and batch_size * context <= grid.max_kv_tokens
            ):
                yield [
                    batch_size,
                    0,
                    context,
                    dataclasses.asdict(bench.decode_attention(batch_size, context)),
                    dataclasses.asdict(saves[batch_size]),
                ]
    for chunk in grid.prefill_chunk_tokens:
        for context in grid.prefill_context_tokens:
            if chunk <= params.max_num_batched_tokens and chunk + context <= params.max_model_len:
                yield [
                    1,
                    chunk,
                    context,
                    dataclasses.asdict(bench.prefill_attention(chunk, context)),
                    dataclasses.asdict(saves[chunk]),
                ]


def _part(path: Path, report: Callable[[str], None], what: str, rows: Iterable[list[Any]]) -> None:
    if path.is_file():
        report(f"{what}: measured before the interruption")
        return
    begin, measured, last = time.monotonic(), [], 0.0
    for row in rows:
        measured.append(row)
        if time.monotonic() - last > 5:
            last = time.monotonic()
            report(f"{what}: {len(measured)} timings, {last - begin:.0f} s")
    if not measured:
        raise ProfilingBundleError(
            f"the profiling preset has no grid point of {what} within the engine's limits: widen it"
        )
    scratch = path.with_suffix(".tmp")
    write_json(scratch, {"rows": measured, "duration_s": time.monotonic() - begin})
    scratch.rename(path)
    report(f"{what}: {len(measured)} timings in {time.monotonic() - begin:.0f} s")


def read_part(path: Path) -> tuple[list[Any], float]:
    """`(rows, duration_s)` of a measured part."""
    part = json.loads(path.read_text(encoding="utf-8"))
    return part["rows"], part["duration_s"]


if __name__ == "__main__":
    engine_process_main(work)

"""vLLM behind `AsyncLLM`, started from the presets."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gpu_timing_assets.config.dtype import resolved_dtype
from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.config.hardware import HardwarePreset
from gpu_timing_assets.config.model import ModelPreset
from gpu_timing_assets.config.model_card import card_directory, read_model_dimensions
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.errors import DeviceError, EngineCrashError, EngineError, GpuTimingError
from gpu_timing_assets.core.machine import slowdown
from gpu_timing_assets.engines.base import Recording
from gpu_timing_assets.engines.memory import memory_needed_bytes
from gpu_timing_assets.engines.vllm import VllmPreset
from gpu_timing_assets.engines.vllm.crashes import fault_of_engine, leave_reports_in
from gpu_timing_assets.engines.vllm.recording import StepRecording
from gpu_timing_assets.engines.vllm.recording_names import (
    ASYNC_SCHEDULER,
    FLUSH_REQUEST,
    RECORDING_VARIABLE,
    STEP_TIMER,
    SYNC_SCHEDULER,
)
from gpu_timing_assets.engines.vllm.resolved import resolved_settings, vllm_environment
from gpu_timing_assets.engines.vllm.surface import (
    check_surface,
    custom_ops,
    engine_exit_codes,
    limit_instruction_set,
    native_library,
)

WORKER_TIMEOUT_S = 60


class VllmEngine:
    """See `gpu_timing_assets.engines.base.Engine`."""

    def __init__(self, config: ExperimentConfig, scratch: Path, device_name: str) -> None:
        """Start the engine; `scratch` is where it records its steps.

        Raises `DeviceError` if vLLM or the target's device is not there, `EngineError` if vLLM
        refuses the settings or does not start.
        """
        model, hardware, backend = config.model, config.hardware, config.backend
        assert isinstance(backend, VllmPreset)
        _set_environment(hardware, backend)
        limit_instruction_set(hardware.cpu_instruction_set)
        leave_reports_in(scratch)
        self._scratch, self._memory_needed_bytes = scratch, memory_needed_bytes(model, hardware)
        recording = StepRecording(scratch / "recording.jsonl") if backend.record_steps else None
        if recording:
            os.environ[RECORDING_VARIABLE] = str(recording.path)
        self.recording: Recording | None = recording
        self._recording, self._observing = recording, False
        try:
            from vllm import SamplingParams
            from vllm.engine.arg_utils import AsyncEngineArgs
            from vllm.sampling_params import RequestOutputKind
            from vllm.v1.engine.async_llm import AsyncLLM
            from vllm.v1.engine.exceptions import EngineDeadError
        except ImportError as error:
            raise DeviceError(
                f"vLLM cannot be imported here ({error}): install the lock for this machine "
                "(`make demo`), or name an interpreter that has it with "
                "backend.python=/path/to/python, listed in GPU_TIMING_INTERPRETERS"
            ) from None
        check_surface(hardware.device)
        if hardware.device == "cpu":
            custom_ops()
        self._died = EngineDeadError
        self._sampling = partial(
            SamplingParams, temperature=0, detokenize=False, output_kind=RequestOutputKind.DELTA
        )
        try:
            arguments = engine_arguments(model, hardware, backend)
            vllm_config = AsyncEngineArgs(**arguments).create_engine_config()
            if hardware.device == "cpu":
                # vLLM asks for spawn on a CPU, importing it in each process: nothing forbids fork
                os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"
            self._llm = AsyncLLM.from_vllm_config(vllm_config, disable_log_stats=True)
        except Exception as error:
            raise self._start_fault(error) from error
        header = recording.header() if recording else {}
        self.params = _resolved_params(vllm_config, header, model, device_name)

    async def ready(self) -> None:
        if self._recording is None:
            return
        ranks = await self._ask_workers("count_steps")
        if any(rank != ranks[0] for rank in ranks):
            raise EngineError(f"the ranks of this engine run different attention: {ranks}")
        self.params = self.params.model_copy(
            update={name: value for name, value in ranks[0].items() if value is not None}
        )

    async def observe_steps(self, on: bool) -> None:
        if self._recording is None:
            if on:
                raise EngineError("backend.observe_steps needs backend.record_steps=true")
            return
        if self._observing:
            self._recording.add_observed(await self._ask_workers("stop_step_times"))
        if on:
            await self._ask_workers("start_step_times")
        self._observing = on

    async def _ask_workers(self, method: str) -> list[Any]:
        """What each rank returns. Raises `EngineError` if one does not within a minute."""
        try:
            answers: list[Any] = await self._llm.collective_rpc(method, timeout=WORKER_TIMEOUT_S)
        except Exception as error:
            raise EngineError(
                f"the engine's workers did not answer {method} within {WORKER_TIMEOUT_S} s: the "
                f"GPU has not finished its steps, or is lost ({type(error).__name__}: {error})"
            ) from error
        return answers

    async def stream(
        self, request_id: str, prompt_token_ids: Sequence[int], num_tokens: int, *, stop_early: bool
    ) -> AsyncIterator[int]:
        prompt: Any = {"prompt_token_ids": list(prompt_token_ids)}
        sampling = self._sampling(
            max_tokens=num_tokens,
            min_tokens=0 if stop_early else num_tokens,
            ignore_eos=not stop_early,
        )
        try:
            async for output in self._llm.generate(prompt, sampling, request_id=request_id):
                yield len(output.outputs[0].token_ids)
        except self._died:
            # the last of its processes may still be on its way out
            await asyncio.sleep(1)
            codes = engine_exit_codes(self._llm)
            raise fault_of_engine(
                self._scratch, codes, "in the middle of its work", self._memory_needed_bytes
            ) from None

    async def flush_recording(self) -> None:
        if self.recording:
            async for _ in self.stream(FLUSH_REQUEST, [1], 1, stop_early=False):
                pass
        if self._observing:
            await self.observe_steps(True)

    def shutdown(self) -> None:
        self._llm.shutdown()

    def _start_fault(self, error: Exception) -> GpuTimingError:
        text = " ".join(str(error).split())[:400]
        codes = [int(code) for code in re.findall(r": (-\d+)", text)]
        fault = fault_of_engine(self._scratch, codes, "as it started", self._memory_needed_bytes)
        # what has no cause of its own is what vLLM says, and a second start would say it again
        if type(fault) is EngineCrashError:
            return EngineError(f"vLLM did not start: {text} (its log is above)")
        return fault


def engine_arguments(
    model: ModelPreset, hardware: HardwarePreset, backend: VllmPreset
) -> dict[str, Any]:
    """What vLLM's `AsyncEngineArgs` is given for these presets."""
    asynchronous = backend.async_scheduling
    if asynchronous is None:
        asynchronous = hardware.device == "cuda"
    arguments: dict[str, Any] = {
        "model": str(card_directory(model)),
        "load_format": "auto" if model.weights else "dummy",
        "seed": model.seed,
        "dtype": resolved_dtype(model, hardware),
        "skip_tokenizer_init": True,
        "enable_prefix_caching": backend.enable_prefix_caching,
        "max_num_seqs": backend.max_num_seqs,
        "max_num_batched_tokens": backend.max_num_batched_tokens,
        "max_model_len": backend.max_model_len,
        "tensor_parallel_size": backend.tensor_parallel_size,
        "gpu_memory_utilization": backend.gpu_memory_utilization,
        "enforce_eager": backend.enforce_eager,
        "async_scheduling": asynchronous,
        "disable_log_stats": True,
    }
    if hardware.kv_cache_bytes and hardware.device == "cuda":
        arguments["kv_cache_memory_bytes"] = hardware.kv_cache_bytes
    if backend.record_steps:
        arguments["scheduler_cls"] = ASYNC_SCHEDULER if asynchronous else SYNC_SCHEDULER
        arguments["worker_extension_cls"] = STEP_TIMER
    return arguments


def _set_environment(hardware: HardwarePreset, backend: VllmPreset) -> None:
    # a start takes as much longer as everything does here and now
    timeout_s = int(backend.start_timeout_s * max(1.0, slowdown()))
    os.environ["VLLM_ENGINE_READY_TIMEOUT_S"] = str(timeout_s)
    os.environ.update({"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"})
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    if hardware.omp_num_threads:
        os.environ["OMP_NUM_THREADS"] = str(hardware.omp_num_threads)
    if hardware.device == "cpu":
        gibibytes = max(1, (hardware.kv_cache_bytes or 2**30) >> 30)
        os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(gibibytes)
        os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"


def _resolved_params(
    config: Any, header: dict[str, Any], model: ModelPreset, device: str
) -> EngineParams:
    import vllm

    scheduler, cache = config.scheduler_config, config.cache_config
    compilation, on_cpu = config.compilation_config, config.device_config.device_type == "cpu"
    graphs = not on_cpu and compilation.cudagraph_mode is not None
    mode = compilation.cudagraph_mode.name if graphs else "NONE"
    capture_sizes = compilation.cudagraph_capture_sizes or () if mode != "NONE" else ()
    attention_backend = header.get("attention_backend") or ("CPU_ATTN" if on_cpu else "unknown")
    return EngineParams(
        engine="vllm",
        engine_version=vllm.__version__,
        device_name=device,
        model_dimensions=read_model_dimensions(model),
        dtype=str(config.model_config.dtype).removeprefix("torch."),
        native_library=native_library() if on_cpu else None,
        tensor_parallel_size=config.parallel_config.tensor_parallel_size,
        max_model_len=config.model_config.max_model_len,
        max_num_seqs=scheduler.max_num_seqs,
        max_num_batched_tokens=scheduler.max_num_batched_tokens,
        enable_chunked_prefill=scheduler.enable_chunked_prefill,
        async_scheduling=bool(scheduler.async_scheduling),
        enable_prefix_caching=bool(cache.enable_prefix_caching),
        num_kv_blocks=int(header.get("num_kv_blocks") or cache.num_gpu_blocks),
        kv_block_size=int(header.get("kv_block_size") or cache.block_size),
        kv_cache_dtype=str(cache.cache_dtype),
        attention_backend=str(attention_backend),
        attention_backend_version=header.get("attention_backend_version"),
        graph_mode=mode,
        graph_capture_sizes=tuple(sorted(capture_sizes)),
        scheduling_policy=str(scheduler.policy),
        other={
            "gpu_memory_utilization": cache.gpu_memory_utilization,
            "enforce_eager": config.model_config.enforce_eager,
            "seed": config.model_config.seed,
            "load_format": str(config.load_config.load_format),
            "compilation_mode": str(compilation.mode),
            "executor": str(config.parallel_config.distributed_executor_backend),
            "scheduler_reserve_full_isl": getattr(scheduler, "scheduler_reserve_full_isl", False),
            "watermark": float(getattr(scheduler, "watermark", 0.0) or 0.0),
            "long_prefill_token_threshold": int(scheduler.long_prefill_token_threshold),
        },
        resolved=header.get("resolved") or resolved_settings(config),
        environment=header.get("environment") or vllm_environment(),
    )

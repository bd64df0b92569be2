"""What this project takes of vLLM beyond its public API, in one place: private modules and names,
and which library is loaded.

`REQUIRED` lists each name with the parameters that are passed to it. `check_surface` holds that
list against the vLLM that is installed before anything is measured, so that a release that moved
one is named and not met as a traceback in the middle.
"""

import importlib
import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gpu_timing_assets.core.errors import EngineError
from gpu_timing_assets.core.machine import INSTRUCTION_SETS, InstructionSet

# the releases that runs were made with: 0.26 on an H100 and an H200, 0.32 on CPUs
TRIED_VERSIONS = ("0.26", "0.32")
SHARED_MEMORY = Path(os.sep, "dev", "shm")
_CPU_ATTENTION = "vllm.v1.attention.backends.cpu_attn"
_OPS = "vllm._custom_ops"
_PARALLEL = "vllm.distributed.parallel_state"
# each with the parameters that are passed to it
REQUIRED: Mapping[str, Mapping[str, str]] = {
    "any": {
        "vllm.v1.core.sched.scheduler.Scheduler.schedule": "",
        "vllm.v1.core.sched.scheduler.Scheduler.update_from_output": "scheduler_output "
        "model_runner_output",
        "vllm.v1.core.sched.scheduler.Scheduler.shutdown": "",
        "vllm.v1.core.sched.async_scheduler.AsyncScheduler": "",
        "vllm.v1.engine.async_llm.AsyncLLM.from_vllm_config": "vllm_config disable_log_stats",
        "vllm.v1.engine.async_llm.AsyncLLM.generate": "prompt sampling_params request_id",
        "vllm.v1.engine.async_llm.AsyncLLM.collective_rpc": "method timeout",
        "vllm.engine.arg_utils.AsyncEngineArgs": "worker_extension_cls",
        "vllm.v1.engine.exceptions.EngineDeadError": "",
        "vllm.v1.engine.utils.CoreEngineProcManager": "",
        "vllm.config.set_current_vllm_config": "vllm_config",
        f"{_PARALLEL}.set_custom_all_reduce": "enable",
        f"{_PARALLEL}.init_distributed_environment": "world_size rank distributed_init_method "
        "local_rank backend",
        f"{_PARALLEL}.ensure_model_parallel_initialized": "tensor_model_parallel_size "
        "pipeline_model_parallel_size",
        f"{_PARALLEL}.get_tp_group": "",
        f"{_PARALLEL}.GroupCoordinator.all_reduce": "input_",
        f"{_PARALLEL}.GroupCoordinator.all_gather": "input_ dim",
        f"{_PARALLEL}.destroy_model_parallel": "",
        f"{_PARALLEL}.destroy_distributed_environment": "",
        f"{_OPS}.rms_norm": "out input weight epsilon",
        f"{_OPS}.fused_add_rms_norm": "input residual weight epsilon",
        f"{_OPS}.rotary_embedding": "positions query key head_size cos_sin_cache is_neox",
    },
    "cpu": {
        "vllm.platforms.cpu.CpuPlatform.import_kernels": "",
        "vllm.model_executor.layers.utils.dispatch_cpu_unquantized_gemm": "layer remove_weight",
        f"{_CPU_ATTENTION}._get_attn_isa": "dtype block_size head_size",
        f"{_OPS}.cpu_attn_get_scheduler_metadata": "num_reqs num_heads num_kv_heads head_dim "
        "seq_lens dtype query_start_loc causal sliding_window_size isa enable_kv_split",
        f"{_OPS}.cpu_attn_reshape_and_cache": "key value key_cache value_cache slot_mapping isa",
        f"{_OPS}.cpu_attention_with_kv_cache": "query key_cache value_cache output query_start_loc "
        "seq_lens scale causal alibi_slopes sliding_window block_table softcap scheduler_metadata "
        "s_aux",
    },
    "cuda": {
        "vllm.v1.attention.backends.fa_utils.get_flash_attn_version": "",
        "vllm.vllm_flash_attn.flash_attn_varlen_func": "",
        f"{_PARALLEL}.graph_capture": "device",
        f"{_OPS}.reshape_and_cache_flash": "key value key_cache value_cache slot_mapping "
        "kv_cache_dtype k_scale v_scale",
    },
}


def required_names(device: str) -> dict[str, tuple[str, ...]]:
    """Name → parameters, for a target whose device is `cpu` or `cuda`."""
    names = {**REQUIRED["any"], **REQUIRED[device]}
    return {name: tuple(parameters.split()) for name, parameters in names.items()}


def check_surface(device: str) -> None:
    """Raises `EngineError` naming vLLM's version and everything that does not fit."""
    import vllm

    misfits = (_misfit(*required) for required in required_names(device).items())
    if missing := [text for text in misfits if text]:
        raise EngineError(
            f"vLLM {vllm.__version__} does not fit: {'; '.join(missing)}. Releases that do: "
            f"{', '.join(TRIED_VERSIONS)} (`make install` has one; "
            "gpu_timing_assets/engines/vllm/surface.py lists what is needed)"
        )


def _misfit(name: str, parameters: Sequence[str]) -> str | None:
    try:
        found = _look_up(name)
    except (ImportError, AttributeError):
        return f"{name} is missing"
    if not parameters:
        return None
    accepted = inspect.signature(found).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values()):
        return None
    unknown = [parameter for parameter in parameters if parameter not in accepted]
    return f"{name} takes no {', '.join(unknown)}" if unknown else None


def _look_up(name: str) -> Any:
    """The object of a dotted name: the longest part that is a module is imported."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise ImportError(name)


def limit_instruction_set(limit: InstructionSet | None) -> None:
    """Have torch, oneDNN and vLLM work as on a CPU with `limit`; before vLLM is imported."""
    if limit in (None, INSTRUCTION_SETS[-1]):
        return
    os.environ["ONEDNN_MAX_CPU_ISA"] = {"avx2": "AVX2", "avx512": "AVX512_CORE_VNNI"}[limit]
    os.environ["ATEN_CPU_CAPABILITY"] = {"avx2": "avx2", "avx512": "avx512"}[limit]
    import torch

    hidden = {
        "avx2": ("avx512", "amx", "avx10", "avx_"),
        "avx512": ("avx512_bf16", "avx512_fp16", "amx", "avx10"),
    }[limit]
    found = torch.cpu.get_capabilities().items()
    seen = MappingProxyType({name: has and not name.startswith(hidden) for name, has in found})
    # vLLM asks torch what the CPU has, and takes its native library and its attention by the answer
    torch.cpu.get_capabilities = lambda: seen  # type: ignore[assignment]


def custom_ops() -> Any:
    """vLLM's operators; their import loads the native library that vLLM chooses."""
    from vllm import _custom_ops

    return _custom_ops


def native_library() -> str | None:
    """The name of vLLM's native library in this process (`_C_AVX2`), None before one is loaded."""
    maps = Path("/proc/self/maps").read_text()
    found = re.findall(r"/vllm/(_C(?:_\w+)?)\.\S*so$", maps, re.MULTILINE)
    return found[0] if found else None


def cpu_linear(weight: Any) -> Callable[[Any], Any]:
    """A linear layer through the GEMM that vLLM chooses on this CPU: `x -> x @ weight.T`."""
    import torch
    from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm

    layer: Any = torch.nn.Module()
    layer.weight = torch.nn.Parameter(weight, requires_grad=False)
    dispatch_cpu_unquantized_gemm(layer, remove_weight=False)
    return lambda x: layer.cpu_linear(x, layer.weight, None)


def cpu_attention_instructions(dtype: Any, kv_block_size: int, head_dim: int) -> str:
    """What vLLM calls the `isa` of its CPU attention."""
    from vllm.v1.attention.backends import cpu_attn

    return str(cpu_attn._get_attn_isa(dtype, kv_block_size, head_dim))


def flash_attention() -> tuple[Callable[..., Any], int]:
    """FlashAttention over a paged cache, and the version of it that vLLM chooses on this GPU."""
    from vllm.v1.attention.backends.fa_utils import get_flash_attn_version
    from vllm.vllm_flash_attn import flash_attn_varlen_func

    return flash_attn_varlen_func, get_flash_attn_version() or 2


def attention_backend(vllm_config: Any) -> dict[str, str | None]:
    """`attention_backend` and `attention_backend_version` of a process that holds the model's
    layers; null in one that does not, whose workers are other processes.
    """
    layers = vllm_config.compilation_config.static_forward_context.values()
    names = [layer.attn_backend.get_name() for layer in layers if hasattr(layer, "attn_backend")]
    name = names[0] if names else None
    version = str(flash_attention()[1]) if name == "FLASH_ATTN" else None
    return {"attention_backend": name, "attention_backend_version": version}


def join_tensor_parallel_group(vllm_config: Any, rank: int, meeting_point: str) -> Any:
    """vLLM's tensor-parallel group with the communicators of its workers (custom all-reduce, NCCL;
    shared memory on a CPU), once all ranks are at `meeting_point` (`tcp://127.0.0.1:<port>`).

    The process is on the rank's device already.
    """
    from vllm.config import set_current_vllm_config
    from vllm.distributed import parallel_state
    from vllm.platforms import current_platform

    # what the ranks' shared memory on a CPU is called
    name = os.environ["VLLM_DIST_IDENT"] = f"gpu-timing-{meeting_point.rpartition(':')[2]}"
    parallel = vllm_config.parallel_config
    with set_current_vllm_config(vllm_config):
        parallel_state.set_custom_all_reduce(not parallel.disable_custom_all_reduce)
        parallel_state.init_distributed_environment(
            world_size=parallel.tensor_parallel_size,
            rank=rank,
            distributed_init_method=meeting_point,
            local_rank=rank,
            backend=current_platform.dist_backend,
        )
        parallel_state.ensure_model_parallel_initialized(
            tensor_model_parallel_size=parallel.tensor_parallel_size,
            pipeline_model_parallel_size=1,
        )
    # all ranks have it open by now, and a process that is killed cannot remove it
    for file in SHARED_MEMORY.glob(f"{name}-*"):
        file.unlink(missing_ok=True)
    return parallel_state.get_tp_group()


def leave_tensor_parallel_group() -> None:
    from vllm.distributed import parallel_state

    parallel_state.destroy_model_parallel()
    parallel_state.destroy_distributed_environment()


def collective_capture(device: Any) -> AbstractContextManager[Any]:
    """In it, CUDA graphs with collectives are captured; at its end, the custom all-reduce tells the
    other ranks where their tensors lie.
    """
    from vllm.distributed import parallel_state

    capture: AbstractContextManager[Any] = parallel_state.graph_capture(device=device)
    return capture


def engine_exit_codes(llm: Any) -> list[int]:
    """The exit codes of the engine core's processes that have ended (−9: killed by SIGKILL)."""
    manager = getattr(llm.engine_core.resources, "engine_manager", None)
    processes = getattr(manager, "processes", ())
    return [process.exitcode for process in processes if process.exitcode is not None]

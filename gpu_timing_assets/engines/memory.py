"""How much memory of the host an engine needs."""

from gpu_timing_assets.config.dtype import resolved_dtype
from gpu_timing_assets.config.hardware import HardwarePreset
from gpu_timing_assets.config.model import ModelPreset
from gpu_timing_assets.config.model_card import read_model_dimensions

# with torch and vLLM loaded: 1.3 GiB on a CPU (by a memory cgroup); a GPU's map CUDA's too
CPU_PROCESSES_BYTES, GPU_PROCESSES_BYTES = 3 * 2**29, 4 * 2**30
BYTES_PER_PARAMETER = {"bfloat16": 2, "float16": 2, "float32": 4}


def memory_needed_bytes(model: ModelPreset, hardware: HardwarePreset) -> int:
    """Processes, and on a CPU weights and KV cache: a GPU's are mapped or made on the GPU."""
    if hardware.device != "cpu":
        return GPU_PROCESSES_BYTES
    weights = (
        read_model_dimensions(model).num_parameters
        * BYTES_PER_PARAMETER[resolved_dtype(model, hardware)]
    )
    return weights + (hardware.kv_cache_bytes or 2**30) + CPU_PROCESSES_BYTES

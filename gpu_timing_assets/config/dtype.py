"""Which data type a model runs in on a piece of hardware, where its preset leaves that open."""

from gpu_timing_assets.config.hardware import HardwarePreset
from gpu_timing_assets.config.model import ModelPreset
from gpu_timing_assets.core.machine import cpu_instruction_set


def possible_dtypes(model: ModelPreset, hardware: HardwarePreset) -> tuple[str, ...]:
    """What `resolved_dtype` can be on one machine or another of this hardware."""
    if model.dtype != "auto":
        return (model.dtype,)
    return ("bfloat16", "float32") if hardware.device == "cpu" else ("bfloat16",)


def resolved_dtype(model: ModelPreset, hardware: HardwarePreset) -> str:
    """The preset's dtype, `auto` resolved for the CPU that this is."""
    first, *others = possible_dtypes(model, hardware)
    native = cpu_instruction_set(hardware.cpu_instruction_set) == "avx512_bf16"
    return others[0] if others and not native else first

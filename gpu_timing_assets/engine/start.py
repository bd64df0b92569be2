"""Starting the engine that a preset names."""

from pathlib import Path

from gpu_timing_assets.engine.interface import Engine
from gpu_timing_assets.presets.experiment import ExperimentConfig


def start_engine(config: ExperimentConfig, scratch: Path, device_name: str) -> Engine:
    """Raises `DeviceError` if what it needs is not there, `EngineError` if it does not start."""
    arguments = (config.model, config.hardware, config.backend, scratch, device_name)
    if config.backend.name == "vllm":
        from gpu_timing_assets.engine.vllm_engine import VllmEngine

        return VllmEngine(*arguments)
    if config.backend.name == "transformers":
        from gpu_timing_assets.engine.transformers_engine import TransformersEngine

        return TransformersEngine(*arguments)
    from gpu_timing_assets.engine.null_engine import NullEngine

    return NullEngine(*arguments)

"""Starting the engine that a preset names."""

from pathlib import Path

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.engines.base import Engine


def start_engine(config: ExperimentConfig, scratch: Path, device_name: str) -> Engine:
    """Raises `DeviceError` if what it needs is not there, `EngineError` if it does not start."""
    arguments = (config.model, config.hardware, config.backend, scratch, device_name)
    if config.backend.name == "vllm":
        from gpu_timing_assets.engines.vllm.engine import VllmEngine

        return VllmEngine(*arguments)
    if config.backend.name == "transformers":
        from gpu_timing_assets.engines.transformers.engine import TransformersEngine

        return TransformersEngine(*arguments)
    from gpu_timing_assets.engines.null.engine import NullEngine

    return NullEngine(*arguments)

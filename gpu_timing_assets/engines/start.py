"""Starting the engine that a preset names."""

from pathlib import Path
from typing import cast

from gpu_timing_assets.config.backend import ENGINES
from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.engines.base import Engine, EnginePlugin


def start_engine(config: ExperimentConfig, scratch: Path, device_name: str) -> Engine:
    """Raises `DeviceError` if what it needs is not there, `EngineError` if it does not start."""
    plugin = cast(EnginePlugin, ENGINES[config.backend.name])
    return plugin.start(config, scratch, device_name)

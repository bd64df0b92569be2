"""Hugging Face transformers, one request at a time: a reference for a single request."""

from pathlib import Path
from typing import Literal

from gpu_timing_assets.config.backend import BackendPreset
from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.engines.base import Engine, EnginePlugin


class TransformersPreset(BackendPreset):
    """Serves one request at a time: not comparable under load."""

    name: Literal["transformers"] = "transformers"
    """Name of the engine."""


def _start(config: ExperimentConfig, scratch: Path, device_name: str) -> Engine:
    from gpu_timing_assets.engines.transformers.engine import TransformersEngine

    return TransformersEngine(config, scratch, device_name)


ENGINE = EnginePlugin(
    "transformers",
    TransformersPreset,
    _start,
    comparable_under_load=False,
    caveat="Backend `transformers` serves one request at a time: a reference for one request, not "
    "comparable under load.",
)

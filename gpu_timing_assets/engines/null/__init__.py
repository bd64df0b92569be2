"""An engine that computes nothing: what remains of a replay's timing is the client's own."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from gpu_timing_assets.config.backend import BackendPreset
from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.engines.base import Engine, EnginePlugin


class NullPreset(BackendPreset):
    """Measures the client and the graph, not an engine."""

    name: Literal["null_engine"] = "null_engine"
    """Name of the engine."""

    null_token_interval_ms: float = Field(default=0, ge=0)
    """Milliseconds from one token to the next; 0: as fast as the client takes them."""


def _start(config: ExperimentConfig, scratch: Path, device_name: str) -> Engine:
    from gpu_timing_assets.engines.null.engine import NullEngine

    return NullEngine(config, scratch, device_name)


ENGINE = EnginePlugin(
    "null_engine",
    NullPreset,
    _start,
    computes=False,
    comparable_under_load=False,
    caveat="Backend `null_engine` returns tokens at once: these are the client's own times, not an "
    "engine's.",
)

"""Vidur as published, extended through its own registries only: stage `vidur-sim`."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.config.simulator import SimulatorPreset
from gpu_timing_assets.core.run import SimRunMeta
from gpu_timing_assets.simulators.base import SimInputs, Simulator

__all__ = ["SIMULATOR", "SimInputs", "VidurPreset", "run"]


class VidurPreset(SimulatorPreset):
    """Vidur with vLLM V1's scheduler, a time model, and what of a real run is substituted."""

    name: Literal["vidur"] = "vidur"
    """Name of the simulator."""

    predictor: Literal["random_forest", "kernels_only", "engine_loop"] = "engine_loop"
    """Time model of a step: `random_forest` is Vidur's own, `kernels_only` the profiled kernels,
    `engine_loop` kernels, the engine's host and how they overlap, and the client."""

    substitution: Literal["recorded_batches", "recorded_step_times"] | None = None
    """Layer replaced by what a real run recorded, to attribute an error: `recorded_batches` runs
    the real engine's batches through the time model, `recorded_step_times` gives the simulated
    scheduler the real engine's step times."""

    seed: int = 0
    """Seed of the draws from the bundle's distributions."""

    max_extrapolation: float = Field(default=1.0, ge=1.0)
    """Reach beyond the bundle's grid, as a factor of its last point; above 1 the run is marked as
    extrapolated."""

    @property
    def run_label(self) -> str:
        parts = (self.predictor, *([self.substitution] if self.substitution else []))
        return "--".join(part.replace("_", "-") for part in parts)

    @property
    def needs_real_run(self) -> bool:
        return self.substitution is not None


def run(config: ExperimentConfig, inputs: SimInputs, out: Path) -> SimRunMeta:
    """See `gpu_timing_assets.simulators.vidur_ext.stage.run`."""
    from gpu_timing_assets.simulators.vidur_ext import stage

    return stage.run(config, inputs, out)


SIMULATOR = Simulator("vidur", VidurPreset)

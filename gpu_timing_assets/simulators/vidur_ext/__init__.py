"""Vidur as published, extended through its own registries only."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from gpu_timing_assets.config.simulator import SimulatorPreset
from gpu_timing_assets.simulators.base import SimulatedRun, Simulator, Work

if TYPE_CHECKING:
    from gpu_timing_assets.config.experiment import ExperimentConfig
    from gpu_timing_assets.engine_loop.bundle import Bundle


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

    host_speed: Literal["profiled", "probed"] = "profiled"
    """Speed of the host: as it was when the target was profiled, or as the probes beside the real
    runs found it."""

    seed: int = 0
    """Seed of the draws from the bundle's distributions."""

    max_extrapolation: float = Field(default=1.0, ge=1.0)
    """Reach beyond the bundle's grid, as a factor of its last point; above 1 the run is marked as
    extrapolated."""

    @property
    def run_label(self) -> str:
        speed = "probed_host" if self.host_speed == "probed" else None
        parts = (part for part in (self.predictor, speed, self.substitution) if part)
        return "--".join(part.replace("_", "-") for part in parts)

    @property
    def needs_real_run(self) -> bool:
        return self.substitution is not None or self.host_speed == "probed"

    @model_validator(mode="after")
    def _has_host(self) -> "VidurPreset":
        if self.host_speed == "probed" and self.predictor != "engine_loop":
            raise ValueError(
                f"host_speed=probed is for predictor engine_loop: {self.predictor} has no host"
            )
        return self


def _simulate(
    work: Work, config: "ExperimentConfig", bundle: "Bundle | None", real_run_dir: Path | None
) -> SimulatedRun:
    # Vidur, scikit-learn and the fits are imported when a simulation starts
    from gpu_timing_assets.simulators.vidur_ext.simulate import simulate

    return simulate(work, config, bundle, real_run_dir)


SIMULATOR = Simulator("vidur", VidurPreset, _simulate)

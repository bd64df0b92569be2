"""How Vidur simulates the target."""

from typing import Literal

from pydantic import Field

from gpu_timing_assets.config.base import Preset


class SimulatorPreset(Preset):
    """Which time model Vidur's scheduler is given, and what of a real run is substituted for its
    own."""

    predictor: Literal["stock", "kernel", "engine"] = "engine"
    """`stock` is Vidur's random forest as it comes, `kernel` the kernels alone, `engine` kernels,
    host, pipeline and edges."""

    variant: Literal["recorded_batches", "recorded_step_times"] | None = None
    """What is substituted from a real run to attribute the error: `recorded_batches` runs the real
    engine's batches through the time model, `recorded_step_times` gives the simulated scheduler the
    real engine's step times."""

    seed: int = 0
    """Of the draws from the bundle's distributions."""

    max_extrapolation: float = Field(default=1.0, ge=1.0)
    """How far beyond the bundle's grid a step may reach, as a factor of its last point; above 1 the
    run is marked as extrapolated."""

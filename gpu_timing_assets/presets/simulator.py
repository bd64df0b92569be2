"""How Vidur simulates the target."""

from typing import Literal

from pydantic import Field

from gpu_timing_assets.presets.base import Preset


class SimulatorPreset(Preset):
    """`predictor`: `stock` is Vidur's random forest as it comes, `kernel` the kernels alone, `engine` kernels, host,
    pipeline and edges.

    `variant` names what is substituted from a real run to attribute the error: `recorded_batches` runs the real
    engine's batches through the time model, `recorded_step_times` gives the simulated scheduler the real engine's
    step times. `max_extrapolation` is how far beyond the bundle's grid a step may reach, as a factor of its last
    point; above 1 the run is marked as extrapolated.
    """

    predictor: Literal["stock", "kernel", "engine"] = "engine"
    variant: Literal["recorded_batches", "recorded_step_times"] | None = None
    seed: int = 0
    max_extrapolation: float = Field(default=1.0, ge=1.0)

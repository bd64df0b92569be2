"""Stage `vidur-sim`: a workload through a simulator, whichever it is."""

from pathlib import Path
from typing import TYPE_CHECKING

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.simulators.base import SimInputs

if TYPE_CHECKING:
    from gpu_timing_assets.core.run import SimRunMeta

__all__ = ["SimInputs", "run"]


def run(config: ExperimentConfig, inputs: SimInputs, out: Path) -> "SimRunMeta":
    """See `gpu_timing_assets.simulators.stage.run`."""
    from gpu_timing_assets.simulators import stage

    return stage.run(config, inputs, out)

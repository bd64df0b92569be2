"""Stage `vidur-profile`: measure what a simulation of a target needs to know: kernels, host,
edges.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.engines.child_process import Launcher, subprocess_launcher

if TYPE_CHECKING:
    from gpu_timing_assets.core.bundle import BundleMeta


@dataclass(frozen=True)
class ProfilingInputs:
    """A profile reads nothing but the configuration."""


def run(
    config: ExperimentConfig,
    inputs: ProfilingInputs,
    out: Path,
    *,
    launch: Launcher = subprocess_launcher,
    force: bool = False,
) -> "BundleMeta":
    """See `gpu_timing_assets.measure.profiling.stage.run`."""
    from gpu_timing_assets.measure.profiling import stage

    return stage.run(config, inputs, out, launch=launch, force=force)


def validate_profiling_root(path: Path, config: ExperimentConfig) -> "BundleMeta":
    """See `gpu_timing_assets.engine_loop.bundle.validate_profiling_root`."""
    from gpu_timing_assets.engine_loop import bundle

    return bundle.validate_profiling_root(path, config)


__all__ = ["ProfilingInputs", "run", "validate_profiling_root"]

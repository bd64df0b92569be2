"""Stage `real-bench`: replay a workload on a real engine and write down when each token reached the
client.
"""

from dataclasses import dataclass
from pathlib import Path

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.engines.child_process import Launcher, subprocess_launcher


@dataclass(frozen=True)
class RealBenchInputs:
    """The workloads to replay, in this order, in one start of the engine."""

    workload_dirs: tuple[Path, ...]


@dataclass(frozen=True)
class RealBenchResult:
    """One directory for each workload and repeat; those of `invalid` did not meet the preset's
    bounds.
    """

    run_dirs: tuple[Path, ...]
    invalid: tuple[Path, ...]


def run(
    config: ExperimentConfig,
    inputs: RealBenchInputs,
    out: Path,
    *,
    launch: Launcher = subprocess_launcher,
) -> RealBenchResult:
    """See `gpu_timing_assets.measure.real_bench.stage.run`."""
    from gpu_timing_assets.measure.real_bench import stage

    return stage.run(config, inputs, out, launch=launch)

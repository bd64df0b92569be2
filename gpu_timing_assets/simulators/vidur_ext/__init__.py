"""Stage `vidur-sim`: simulate a workload with Vidur, as published, extended through its own
registries only."""

from dataclasses import dataclass
from pathlib import Path

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.metadata import RunMeta


@dataclass(frozen=True)
class SimInputs:
    """`real_run_dir` is needed by a variant, which substitutes what that run recorded, and by a
    closed-loop workload, whose arrivals it recorded."""

    workload_dir: Path
    profiling_root: Path
    real_run_dir: Path | None = None


def run(config: ExperimentConfig, inputs: SimInputs, out: Path) -> RunMeta:
    """See `gpu_timing_assets.simulators.vidur_ext.stage.run`."""
    from gpu_timing_assets.simulators.vidur_ext import stage

    return stage.run(config, inputs, out)

"""Finds on disk what a stage reads, for the assets and for the commands alike."""

from pathlib import Path
from typing import TYPE_CHECKING

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.errors import UnfinishedArtifactError

if TYPE_CHECKING:
    from gpu_timing_assets.compare import ComparisonInputs
    from gpu_timing_assets.simulators.vidur_ext import SimInputs


def real_runs(config: ExperimentConfig) -> tuple[Path, ...]:
    """All complete real runs of the workload on the target, as they are now."""
    from gpu_timing_assets.compare import find_real_runs

    return find_real_runs(config.data, config.workload.workload_id, *_target(config))


def _target(config: ExperimentConfig) -> tuple[str, str, str]:
    return config.model.name, config.hardware.name, config.backend.name


def sim_inputs(config: ExperimentConfig) -> "SimInputs":
    """The workload, the target's bundle and, for a variant or a closed loop, which read one, the
    newest real run.

    Raises `UnfinishedArtifactError` if there is no real run to read.
    """
    from gpu_timing_assets.simulators.vidur_ext import SimInputs

    newest = None
    closed_loop = getattr(config.workload.arrivals, "kind", None) == "closed_loop"
    if config.simulator.variant or closed_loop:
        found = real_runs(config)
        if not found:
            reader = (
                f"simulator.variant={config.simulator.variant}"
                if config.simulator.variant
                else "a closed loop"
            )
            raise UnfinishedArtifactError(
                f"{reader} reads a real run of {config.workload.workload_id} on "
                f"{config.target_id}, and there is none below {config.data.path / 'real_runs'}: "
                f"run real-bench first"
            )
        newest = found[-1]
    root = config.data.profiling_root(config.hardware.name, config.model.name)
    return SimInputs(config.data.workload_dir(config.workload.workload_id), root, newest)


def comparison_inputs(config: ExperimentConfig) -> "ComparisonInputs":
    """Raises `UnfinishedArtifactError` naming the command that is missing if either side has no
    run."""
    from gpu_timing_assets.compare import ComparisonInputs, find_sim_runs

    workload_id, target = config.workload.workload_id, config.target_id
    real = real_runs(config)
    if not real:
        raise UnfinishedArtifactError(
            f"there is no complete real run of {workload_id} (as it is now) on {target} below "
            f"{config.data.path / 'real_runs'}: run real-bench workload={workload_id}"
        )
    simulated = find_sim_runs(config.data, workload_id, *_target(config))
    if not simulated:
        raise UnfinishedArtifactError(
            f"there is no complete simulation of {workload_id} (as it is now) on {target} below "
            f"{config.data.path / 'vidur_runs'}: run vidur-sim workload={workload_id}"
        )
    return ComparisonInputs(real_run_dirs=real, sim_run_dirs=simulated)

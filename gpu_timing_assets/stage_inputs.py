"""Finds on disk what a stage reads, for the assets and for the commands alike."""

from typing import TYPE_CHECKING

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.errors import UnfinishedArtifactError
from gpu_timing_assets.core.store import Store
from gpu_timing_assets.core.unused_runs import unused_runs

if TYPE_CHECKING:
    from gpu_timing_assets.compare import ComparisonInputs
    from gpu_timing_assets.simulators.base import SimInputs


def sim_inputs(config: ExperimentConfig) -> "SimInputs":
    """The workload, the target's bundle and, for a substitution or a closed loop, which read one,
    the newest real run.

    Raises `UnfinishedArtifactError` if there is no real run to read.
    """
    from gpu_timing_assets.simulators.base import SimInputs

    newest, workload_id = None, config.workload.workload_id
    closed_loop = getattr(config.workload.arrivals, "kind", None) == "closed_loop"
    if config.simulator.needs_real_run or closed_loop:
        found = Store(config.data).real_runs_of(workload_id, config.target)
        if not found:
            reader = "a closed loop" if closed_loop else f"simulation {config.simulator.run_label}"
            raise UnfinishedArtifactError(
                f"{reader} reads a real run of {workload_id} on {config.target}, and "
                f"there is none below {config.data.real_runs}: run real-bench first"
            )
        newest = found[-1]
    return SimInputs(config.data.workload_dir(workload_id), config.profiling_root, newest)


def comparison_inputs(config: ExperimentConfig) -> "ComparisonInputs":
    """Raises `UnfinishedArtifactError` naming the command that is missing if a side has no run."""
    from gpu_timing_assets.compare import ComparisonInputs

    workload_id, store = config.workload.workload_id, Store(config.data)
    real = store.real_runs_of(workload_id, config.target)
    if not real:
        raise UnfinishedArtifactError(
            f"there is no complete real run of {workload_id} (as it is now) on {config.target} "
            f"below {config.data.real_runs}: run real-bench workload={workload_id}"
        )
    simulated = store.sim_runs_of(workload_id, config.target)
    if not simulated:
        raise UnfinishedArtifactError(
            f"there is no complete simulation of {workload_id} (as it is now) on {config.target} "
            f"below {config.data.sim_runs}: run vidur-sim workload={workload_id}"
        )
    unused = unused_runs(store, workload_id, config.target, {*real, *simulated})
    return ComparisonInputs(real, simulated, unused)

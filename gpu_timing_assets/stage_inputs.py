"""Finds on disk what a stage reads, for the assets and for the commands alike."""

from pathlib import Path
from typing import TYPE_CHECKING

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.data_root import REFERENCE_DATA, DataRoot
from gpu_timing_assets.core.errors import UnfinishedArtifactError
from gpu_timing_assets.core.store import Store
from gpu_timing_assets.core.unused_runs import unused_runs

if TYPE_CHECKING:
    from gpu_timing_assets.compare import ComparisonInputs
    from gpu_timing_assets.simulators.base import SimInputs


def profiling_root_of(config: ExperimentConfig) -> Path:
    """Where the target's bundle lies: below one's own data root or else in the shipped reference,
    which is only read; one's own place if neither has it.
    """
    from gpu_timing_assets.core.bundle import BUNDLE_META_FILE

    own = config.profiling_root
    devices = config.backend.tensor_parallel_size
    shipped = DataRoot(REFERENCE_DATA / config.hardware.name).profiling_root(
        config.hardware.name, config.model.name, devices
    )
    measured = (own / BUNDLE_META_FILE).is_file()
    return shipped if shipped.is_dir() and not measured else own


def sim_inputs(
    config: ExperimentConfig, workload_dir: Path | None = None, profiling_root: Path | None = None
) -> "SimInputs":
    """The workload, the target's bundle and, for a substitution or a closed loop, which read one,
    the newest real run.

    `workload_dir` and `profiling_root` come before what the configuration names.
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
    return SimInputs(
        workload_dir or config.data.workload_dir(workload_id),
        profiling_root or profiling_root_of(config),
        newest,
    )


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

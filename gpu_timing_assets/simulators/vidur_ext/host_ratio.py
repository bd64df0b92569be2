"""How fast the host was in the real runs, of what it was when the target was profiled."""

from pathlib import Path

from gpu_timing_assets.core.errors import SimulationError
from gpu_timing_assets.core.host_probe import HostProbe, HostTimes, host_ratio
from gpu_timing_assets.core.run import RUN_META_FILE, RealRunMeta, read_complete_run


def probed_host_ratio(real_run_dir: Path, expected: HostTimes) -> float:
    """From the probes beside every replay of the workload in the engine start that `real_run_dir`
    is of, and what they take at the profiled speed.

    Raises `SimulationError` for runs without a probe.
    """
    probes = probes_beside(real_run_dir)
    if not probes:
        raise SimulationError(
            f"{real_run_dir / RUN_META_FILE} has no probe of the host's speed, by which "
            "simulator.host_speed=probed corrects: measure again with backend.probe_host=true and "
            "an engine that records its steps"
        )
    return host_ratio(probes, expected)


def probes_beside(real_run_dir: Path) -> list[HostProbe]:
    """Those before and after every replay of this run's workload in its engine start, each once.

    One probe says little: the host's speed changes by a third from one replay to the next. Those
    beside other workloads are of other minutes.
    """
    own = read_complete_run(real_run_dir, RealRunMeta, allow_invalid=True)
    replays = [
        read_complete_run(directory, RealRunMeta, allow_invalid=True)
        for directory in sorted(real_run_dir.parent.glob(f"*--{own.session}-r*"))
        if (directory / RUN_META_FILE).is_file()
    ]
    beside = (
        probe
        for run in replays
        if run.workload_id == own.workload_id
        for probe in (run.probe_before, run.probe_after)
    )
    # where a workload is replayed alone, the probe behind a replay is the one before the next
    return [*dict.fromkeys(probe for probe in beside if probe is not None)]

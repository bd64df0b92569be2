"""What a simulator is to this project, whichever it is."""

from dataclasses import dataclass
from pathlib import Path

from gpu_timing_assets.config.simulator import SimulatorPreset


@dataclass(frozen=True)
class SimInputs:
    """What a simulation reads.

    `real_run_dir` is needed by a substitution, which puts in what that run recorded, and by a
    closed-loop workload, whose arrivals it recorded.
    """

    workload_dir: Path
    profiling_root: Path
    real_run_dir: Path | None = None


@dataclass(frozen=True)
class Simulator:
    """What a simulator registers under the entry points `gpu_timing_assets.simulators`."""

    name: str
    preset: type[SimulatorPreset]

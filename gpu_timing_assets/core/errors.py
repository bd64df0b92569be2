"""The faults a user can act on: one exception type per kind, caught at the edge (commands, assets).

Every message says what was wrong, in which file and row, and what to do about it.
"""


class GpuTimingError(Exception):
    """Base of the faults that are the user's to mend; commands exit with `exit_code`."""

    exit_code = 1


class PresetError(GpuTimingError):
    """A preset, override or configuration value that does not exist or does not validate."""

    exit_code = 2


class ArtifactError(GpuTimingError):
    """A file that crosses a stage is missing, malformed or breaks an invariant."""

    exit_code = 3


class UnfinishedArtifactError(ArtifactError):
    """A directory without a complete `run_meta.json`: nothing reads it as a result."""


class BusyError(GpuTimingError):
    """Another process is writing the same directory or holds the same device."""

    exit_code = 4


class WorkloadError(GpuTimingError):
    """Prompts, traces or arrival and length processes from which no workload can be made."""

    exit_code = 5


class DeviceError(GpuTimingError):
    """torch, vLLM or the target's GPU is not there, or is not the target's."""

    exit_code = 6


class EngineError(GpuTimingError):
    """The engine did not start or did not deliver what was asked, and would not a second time."""

    exit_code = 7


class EngineCrashError(EngineError):
    """The engine died in the middle of its work, of something that need not happen again."""

    exit_code = 11


class OutOfMemoryError(EngineError):
    """A process of the engine was killed, most likely by the kernel for lack of memory."""

    exit_code = 12


class ProfilingBundleError(GpuTimingError):
    """A profiling root that is missing, incomplete, of another target or of bad quality."""

    exit_code = 8


class SimulationError(GpuTimingError):
    """The simulation cannot be run on this workload and bundle."""

    exit_code = 9


class IncomparableRunsError(GpuTimingError):
    """The real run and the simulation did not do the same work under the same settings."""

    exit_code = 10


class DiskFullError(GpuTimingError):
    """The disk that the results go to has no room left."""

    exit_code = 13

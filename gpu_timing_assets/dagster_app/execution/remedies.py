"""What a person does in Dagster about each kind of fault."""

from gpu_timing_assets.core.errors import (
    ArtifactError,
    BusyError,
    DeviceError,
    DiskFullError,
    EngineError,
    GpuTimingError,
    IncomparableRunsError,
    OutOfMemoryError,
    PresetError,
    ProfilingBundleError,
    SimulationError,
    UnfinishedArtifactError,
    WorkloadError,
)

REMEDIES: dict[type[GpuTimingError], str] = {
    PresetError: "Correct the preset or the override in the launchpad; the message names the "
    "nearest known one.",
    UnfinishedArtifactError: "Materialize the upstream asset of this partition, then this one.",
    ArtifactError: "A file was changed or is damaged: materialize the asset that writes it again.",
    BusyError: "Wait for the process that the message names, or end it.",
    WorkloadError: "Correct the prompts or the workload preset that the message names.",
    DeviceError: "Choose this machine's target (resource `target`); `python -m gpu_timing_assets "
    "doctor` names what it can run.",
    OutOfMemoryError: "Free memory, or let the engine take less (hardware.kv_cache_bytes, "
    "backend.gpu_memory_utilization).",
    EngineError: "Read the last lines of this step's stderr for what the engine said.",
    DiskFullError: "Free some room, or let GPU_TIMING_DATA_ROOT name a folder on another disk; "
    "what was whole stays.",
    ProfilingBundleError: "Materialize profiling_bundle for this target (with `force` if its "
    "quality is the complaint).",
    SimulationError: "Widen the bundle's grid with another profiling preset, or raise "
    "simulator.max_extrapolation.",
    IncomparableRunsError: "Run real_run and sim_run again under one target, so that both carry "
    "the same settings.",
}


def remedy(error: GpuTimingError) -> str:
    return next(
        (REMEDIES[kind] for kind in type(error).__mro__ if kind in REMEDIES), "Read the message."
    )

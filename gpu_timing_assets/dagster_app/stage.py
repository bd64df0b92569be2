"""Runs a stage for an asset: a structured log line at its start and end, its duration, and faults
in Dagster's terms.
"""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg

from gpu_timing_assets.config.settings import load_settings
from gpu_timing_assets.core.disk import disk_fault
from gpu_timing_assets.core.errors import (
    ArtifactError,
    BusyError,
    DeviceError,
    DiskFullError,
    EngineCrashError,
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

# What may go well a second time: (attempts, seconds between). A device that somebody holds is
# waited for by its stage.
RETRIED: dict[type[GpuTimingError], tuple[int, int]] = {EngineCrashError: (1, 10)}

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


@dataclass
class StageClock:
    """How long the stage took, once its block has ended."""

    seconds: float = 0.0


def remedy(error: GpuTimingError) -> str:
    return next(
        (REMEDIES[kind] for kind in type(error).__mro__ if kind in REMEDIES), "Read the message."
    )


def end_with_the_run() -> None:
    """A step's process ends when its run's worker is killed; Dagster leaves it running and gives
    its pool slot away.

    The engine's process then ends with the step's. In a run without processes of its own (a test, a
    notebook) nothing is done: the parent there is a shell.
    """
    from gpu_timing_assets.engines.process_tree import die_with_parent

    parent = multiprocessing.parent_process()
    if parent is not None or load_settings().executor == "celery":
        die_with_parent()
    if parent is not None and not parent.is_alive():  # it died before the line above
        raise SystemExit("the run's worker is gone")


@contextmanager
def stage(context: dg.AssetExecutionContext, name: str, **facts: object) -> Iterator[StageClock]:
    """Log `stage=<name> event=start|end|failed key=value …` around the block.

    A `GpuTimingError` becomes a retry if it is worth one, and else a failure that is not retried
    and whose metadata name the cause and the remedy.
    """
    end_with_the_run()
    if (
        context.has_partition_key and context.assets_def.partitions_def is not None
    ):  # a bundle belongs to no workload
        facts = {"workload_id": context.partition_key, **facts}
    line = " ".join(
        f"{key}={value}"
        for key, value in {"stage": name, **facts, "run_id": context.run_id[:8]}.items()
    )
    clock, begin = StageClock(), time.monotonic()
    context.log.info(f"{line} event=start attempt={context.retry_number}")
    try:
        try:
            yield clock
        except OSError as error:
            raise disk_fault(error) or error from None
    except GpuTimingError as error:
        seconds = time.monotonic() - begin
        context.log.error(
            f"{line} event=failed seconds={seconds:.1f} error={type(error).__name__} "
            f"cause={str(error)!r}"
        )
        for kind, (attempts, wait) in RETRIED.items():
            if isinstance(error, kind) and context.retry_number < attempts:
                raise dg.RetryRequested(max_retries=attempts, seconds_to_wait=wait) from error
        raise dg.Failure(
            description=str(error),
            allow_retries=False,
            metadata={
                "cause": str(error),
                "remedy": remedy(error),
                "error": type(error).__name__,
                "exit_code": error.exit_code,
                "stage": name,
                "seconds": seconds,
            },
        ) from error
    clock.seconds = time.monotonic() - begin
    context.log.info(f"{line} event=end seconds={clock.seconds:.1f}")

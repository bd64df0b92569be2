"""Runs a stage for an asset: log lines, its duration, and faults in Dagster's terms."""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg

from gpu_timing_assets.config.settings import load_settings
from gpu_timing_assets.core.disk import disk_fault
from gpu_timing_assets.core.errors import EngineCrashError, GpuTimingError
from gpu_timing_assets.dagster_app.execution.remedies import remedy

# What may go well a second time: (attempts, seconds between). A device that somebody holds is
# waited for by its stage.
RETRIED: dict[type[GpuTimingError], tuple[int, int]] = {EngineCrashError: (1, 10)}


@dataclass
class StageClock:
    """How long the stage took, once its block has ended."""

    seconds: float = 0.0


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
    # a bundle belongs to no workload
    if context.has_partition_key and context.assets_def.partitions_def is not None:
        facts = {"workload_id": context.partition_key, **facts}
    told = {"stage": name, **facts, "run_id": context.run_id[:8]}
    line = " ".join(f"{key}={value}" for key, value in told.items())
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

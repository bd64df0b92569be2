"""Ends runs whose worker is gone with nobody left to say so: the machine went down, or a command
was killed.

A code server reports the death of a worker that it started. If it died with it, or if there was
none (`dagster asset materialize`), Dagster leaves the run as started and its pool slots taken.
"""

import psutil
from dagster import (
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    DefaultRunLauncher,
    RunsFilter,
)
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.tags import GRPC_INFO_TAG

MESSAGE = "The run's worker is gone: its machine went down, or it was killed. Materialize again."


def worker_is_gone(instance: DagsterInstance, run: DagsterRun) -> bool:
    """Whether a started run's process has ended; False if it may run on another machine."""
    if '"socket"' not in run.tags.get(GRPC_INFO_TAG, "") and not isinstance(
        instance.run_storage, SqliteRunStorage
    ):
        return False
    records = instance.get_records_for_run(
        run.run_id, of_type=DagsterEventType.RUN_START, limit=1
    ).records
    entry = records[0].event_log_entry if records else None
    event = entry.dagster_event if entry else None
    if entry is None or event is None or event.pid is None:
        return False
    try:
        process = psutil.Process(event.pid)
        # after a restart of the machine the number may be another process's, which began after the
        # run did
        return process.status() == psutil.STATUS_ZOMBIE or process.create_time() > entry.timestamp
    except psutil.NoSuchProcess:
        return True


def end_lost_runs(instance: DagsterInstance) -> list[str]:
    """Mark them as failed and free their pool slots; returns their ids."""
    lost = [
        run
        for run in instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED]))
        if worker_is_gone(instance, run)
    ]
    for run in lost:
        instance.report_run_failed(run, MESSAGE)
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return [run.run_id for run in lost]


class RunLauncher(DefaultRunLauncher):
    """Dagster's own, which run monitoring can ask whether a run's worker still lives."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        if worker_is_gone(self._instance, run):
            return CheckRunHealthResult(WorkerStatus.FAILED, MESSAGE)
        return CheckRunHealthResult(WorkerStatus.RUNNING)

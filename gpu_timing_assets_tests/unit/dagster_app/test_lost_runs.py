"""A run whose worker is gone is found, and only such a run."""

import subprocess
import time
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.test_utils import create_run_for_test

from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets.dagster_app.execution import lost_runs
from gpu_timing_assets.dagster_app.execution.lost_runs import (
    RunLauncher,
    end_lost_runs,
    worker_is_gone,
)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    launcher = {
        "run_launcher": {"module": RunLauncher.__module__, "class": RunLauncher.__name__},
        "concurrency": {"pools": {"default_limit": 1}},
    }
    with dg.instance_for_test(overrides=launcher) as found:
        yield found


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def started_run(
    instance: dg.DagsterInstance, pid: int, tags: dict[str, str] | None = None, ago_s: float = 0
) -> dg.DagsterRun:
    run = create_run_for_test(
        instance, job_name="whole_graph", status=dg.DagsterRunStatus.STARTED, tags=tags
    )
    event = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, "whole_graph", pid=pid)
    instance.handle_new_event(
        dg.EventLogEntry(
            error_info=None,
            level=20,
            user_message="",
            run_id=run.run_id,
            timestamp=time.time() - ago_s,
            dagster_event=event,
        )
    )
    return run


def test_a_run_whose_worker_lives_is_left_alone(
    instance: dg.DagsterInstance, worker: subprocess.Popen[bytes]
):
    run = started_run(instance, worker.pid)
    assert end_lost_runs(instance) == []
    assert instance.run_launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING


def test_a_run_whose_worker_died_fails_and_holds_no_slot(
    instance: dg.DagsterInstance, worker: subprocess.Popen[bytes]
):
    run = started_run(instance, worker.pid)
    slots = instance.event_log_storage
    slots.initialize_concurrency_limit_to_default("cpu")
    assert slots.claim_concurrency_slot("cpu", run.run_id, "real_run").is_claimed
    worker.kill()
    worker.wait()
    assert instance.run_launcher.check_run_worker_health(run).status == WorkerStatus.FAILED
    assert end_lost_runs(instance) == [run.run_id]
    assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.FAILURE
    assert not slots.get_concurrency_info("cpu").claimed_slots


def test_a_worker_that_nobody_reaped_is_gone(
    instance: dg.DagsterInstance, worker: subprocess.Popen[bytes]
):
    run = started_run(instance, worker.pid)
    worker.kill()
    time.sleep(0.2)
    assert worker_is_gone(instance, run)


def test_a_younger_process_with_the_workers_number_is_not_the_worker(
    instance: dg.DagsterInstance, worker: subprocess.Popen[bytes]
):
    assert worker_is_gone(instance, started_run(instance, worker.pid, ago_s=3600))


def test_a_run_that_has_not_begun_is_left_alone(instance: dg.DagsterInstance):
    run = create_run_for_test(instance, job_name="whole_graph", status=dg.DagsterRunStatus.STARTED)
    assert not worker_is_gone(instance, run)


@pytest.mark.parametrize(
    ("tags", "gone"),
    [
        ({GRPC_INFO_TAG: '{"host": "localhost", "socket": "/tmp/socket"}'}, True),
        ({GRPC_INFO_TAG: '{"host": "gpu-box", "port": 4000}'}, False),
        ({}, False),
    ],
)
def test_with_a_shared_history_only_workers_of_this_machine_are_judged(
    instance: dg.DagsterInstance,
    worker: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
    tags: dict[str, str],
    gone: bool,
):
    run = started_run(instance, worker.pid, tags)
    worker.kill()
    worker.wait()
    monkeypatch.setattr(lost_runs, "SqliteRunStorage", type(None))
    assert worker_is_gone(instance, run) is gone


@pytest.mark.parametrize("path", ["dagster.yaml", "deploy/celery/dagster.yaml"])
def test_the_instances_use_this_launcher(path: str):
    assert (
        f"module: {RunLauncher.__module__}\n  class: {RunLauncher.__name__}"
        in (PROJECT_ROOT / path).read_text()
    )

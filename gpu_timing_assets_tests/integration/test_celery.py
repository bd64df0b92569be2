"""The set-up of deploy/celery as it is: Redis, PostgreSQL, two workers, the page; each step ran
where its queue says.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest

from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets_tests.integration.dagster_page import (
    DagsterPage,
    answers,
    free_port,
    wait_until,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def celery_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DagsterPage, Path]]:
    # PostgreSQL runs as its own user and has to reach its folder: pytest's are closed to others
    folder = tmp_path_factory.mktemp("celery")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)
    data, port, postgres_port = folder / "data", free_port(), free_port()
    environment = {
        **os.environ,
        "GPU_TIMING_DATA_ROOT": str(data),
        "GPU_TIMING_DAGSTER_PORT": str(port),
        "GPU_TIMING_REDIS_PORT": str(free_port()),
        "GPU_TIMING_POSTGRES_PORT": str(postgres_port),
        "GPU_TIMING_REPORTS_PORT": str(free_port()),
        "TMPDIR": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "PYTHONWARNINGS": "ignore",
        "GPU_TIMING_TARGET": "hardware=cpu hardware.repeats=1 hardware.max_lateness_p99_ms=5000 "
        "backend=null_engine",
    }
    process = subprocess.Popen(
        [str(PROJECT_ROOT / "deploy" / "celery" / "run")], env=environment, start_new_session=True
    )
    services = data / ".dagster" / "services"
    try:
        wait_until(
            lambda: (services / "password").exists() and (services / "page.log").exists(),
            60,
            "the services",
        )
        os.environ.update(
            GPU_TIMING_POSTGRES_HOST="127.0.0.1",
            GPU_TIMING_POSTGRES_PORT=str(postgres_port),
            GPU_TIMING_POSTGRES_USER="dagster",
            GPU_TIMING_LOGS=str(data / ".dagster"),
            GPU_TIMING_POSTGRES_PASSWORD=(services / "password").read_text().strip(),
        )
        instance = dg.DagsterInstance.from_config(str(PROJECT_ROOT / "deploy" / "celery"))
        page = DagsterPage(
            f"http://127.0.0.1:{port}", PROJECT_ROOT / "deploy" / "celery", data, process, instance
        )
        wait_until(lambda: answers(page), 120, "the page")
        yield page, services
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        process.wait(60)
        _, left = psutil.wait_procs(family, 10)
        assert not left, f"{left} outlived deploy/celery/run"


def test_what_measures_runs_on_its_hardwares_worker_and_the_rest_on_the_other(
    celery_page: tuple[DagsterPage, Path],
):
    page, services = celery_page
    run_id = page.materialize(["workload_spec", "real_run"], "smoke")
    assert page.wait(run_id, 180) == "SUCCESS", page.log_lines(run_id)[-10:]
    measuring_log, other_log = (
        (services / f"worker-{queue}.log").read_text() for queue in ("cpu", "dagster")
    )
    assert measuring_log.count("succeeded in") == 1
    assert other_log.count("succeeded in") == 1
    assert "ready" in measuring_log
    assert page.held_slots("cpu") == 0


def test_the_history_is_in_postgresql(celery_page: tuple[DagsterPage, Path]):
    page, services = celery_page
    assert type(page.instance.run_storage).__name__ == "PostgresRunStorage"
    assert page.instance.get_runs_count() >= 1
    assert not list(services.parent.rglob("*.db"))


def test_two_runs_at_once_measure_one_after_the_other(celery_page: tuple[DagsterPage, Path]):
    page, _ = celery_page
    run_ids = [
        page.materialize(["workload_spec", "real_run"], workload) for workload in ("smoke", "smoke")
    ]
    for run_id in run_ids:
        assert page.wait(run_id, 240) == "SUCCESS", page.log_lines(run_id)[-10:]
    spans = []
    for run_id in run_ids:
        statistics = {step.step_key: step for step in page.instance.get_run_step_stats(run_id)}[
            "real_run"
        ]
        spans.append((statistics.start_time, statistics.end_time))
    (_, first_end), (second_start, _) = sorted(spans)
    assert first_end <= second_start


def test_nothing_listens_beyond_loopback(celery_page: tuple[DagsterPage, Path]):
    page, _ = celery_page
    family = psutil.Process(page.process.pid).children(recursive=True)
    listening = {
        connection.laddr.ip
        for process in family
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening
    assert listening <= {"127.0.0.1", "::1"}

"""Killing any of a measurement's processes, at any moment, leaves no process, no slot and no half result behind.

The victims are what the kernel's OOM killer or a node's restart would hit: vLLM's engine core, the stage's engine
process, the Dagster step, the run worker; and `cancel` is the page's own button.
"""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest

from gpu_timing_assets.artifacts.metadata import read_complete_run
from gpu_timing_assets_tests.integration.dagster_page import TERMINATE, DagsterPage, dagster_page, wait_until

# the tests share their cores: how late a submission may be is judged elsewhere
TARGET = "hardware=cpu hardware.repeats=1 hardware.max_lateness_p99_ms=5000"
WORKLOAD = "smoke"
VICTIMS = ("engine core", "stage process", "step", "run worker", "cancel")
MOMENTS = ("start-up", "mid-replay", "writing")
ENGINE_MODULE = "gpu_timing_assets.real_bench.engine_process"


@pytest.fixture(scope="module")
def vllm_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterPage]:
    with dagster_page(tmp_path_factory.mktemp("kill"), GPU_TIMING_TARGET=TARGET) as page:
        page.wait(page.materialize(["workload_spec"], WORKLOAD))
        yield page


@pytest.fixture(scope="module")
def null_engine_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterPage]:
    with dagster_page(tmp_path_factory.mktemp("kill-null"), GPU_TIMING_TARGET=f"{TARGET} backend=null_engine") as page:
        page.wait(page.materialize(["workload_spec"], WORKLOAD))
        yield page


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("victim", VICTIMS)
def test_kill_on_the_cpu_engine(vllm_page: DagsterPage, victim: str, moment: str):
    kill_and_check(vllm_page, victim, moment)


@pytest.mark.parametrize(("victim", "moment"), [
    ("step", "mid-replay"), ("run worker", "mid-replay"),
    pytest.param("stage process", "mid-replay", marks=pytest.mark.slow),
    pytest.param("cancel", "mid-replay", marks=pytest.mark.slow)])
def test_kill_without_an_engine(null_engine_page: DagsterPage, victim: str, moment: str):
    """The same processes but for the engine core, in seconds: the engine answers at once."""
    kill_and_check(null_engine_page, victim, moment)


def kill_and_check(page: DagsterPage, victim: str, moment: str) -> None:
    run_id = page.materialize(["real_run"], WORKLOAD)
    engine = wait_for_engine(page)
    # known before the moment comes: writing takes milliseconds
    target = None if victim == "cancel" else find_victim(page, run_id, engine, victim)
    wait_for_moment(page, run_id, moment)
    doomed = processes_of_attempt(page, engine, victim)
    begin = time.monotonic()
    if target is None:
        page.graphql(TERMINATE, id=run_id)
    else:
        os.kill(target, signal.SIGKILL)

    wait_until(lambda: not any(map(alive, doomed)), 10,
               lambda: f"the end of {[process for process in doomed if alive(process)]} after killing the {victim}", 0.05)
    took = time.monotonic() - begin
    status = page.wait(run_id, 300)
    # an engine that died is worth a second attempt in the same run; a killed step or worker is the operator's to repeat
    assert status == {"engine core": "SUCCESS", "stage process": "SUCCESS", "cancel": "CANCELED"}.get(victim, "FAILURE")
    wait_until(lambda: page.held_slots("a100") == 0, 15, "the pool's slot to be free")
    wait_until(lambda: not page.started_processes(), 10, page.describe_started)
    assert_only_whole_results(page)

    assert page.wait(page.materialize(["real_run"], WORKLOAD), 300) == "SUCCESS"
    assert_only_whole_results(page)
    print(f"{victim}, {moment}: processes gone after {took:.1f} s")


def wait_for_engine(page: DagsterPage) -> psutil.Process:
    found: list[psutil.Process] = []

    def look() -> bool:
        found[:] = [process for process in page.started_processes() if ENGINE_MODULE in " ".join(process.cmdline())]
        return bool(found)

    wait_until(look, 60, "the engine's process", 0.05)
    return found[0]


def wait_for_moment(page: DagsterPage, run_id: str, moment: str) -> None:
    if moment == "start-up":
        wait_until(lambda: said(page, run_id, "starting "), 60, "the engine to start", 0.05)
    elif moment == "mid-replay":
        wait_until(lambda: said(page, run_id, "replaying "), 180, "the replay", 0.05)
        time.sleep(0.5)
    else:
        runs = page.data / "real_runs"
        wait_until(lambda: list(runs.glob(".unfinished-session-*/replays/*/*/*.csv")), 240, "the first table", 0.001)


def said(page: DagsterPage, run_id: str, beginning: str) -> bool:
    return any(line.startswith(beginning) for line in page.log_lines(run_id))


def processes_of_attempt(page: DagsterPage, engine: psutil.Process, victim: str) -> list[psutil.Process]:
    """What has to be gone: the engine's processes, and the step's and the worker's if theirs is the kill."""
    try:
        doomed = [engine, *engine.children(recursive=True)]
    except psutil.NoSuchProcess:
        doomed = []
    return doomed if victim in ("engine core", "stage process") else doomed + [
        process for process in page.started_processes() if process not in doomed and victim == "run worker"]


def find_victim(page: DagsterPage, run_id: str, engine: psutil.Process, victim: str) -> int:
    if victim == "stage process":
        return engine.pid
    if victim == "engine core":
        def core() -> list[psutil.Process]:
            return [child for child in engine.children(recursive=True)
                    if "EngineCore" in " ".join([child.name(), *child.cmdline()])]
        wait_until(core, 60, "the engine core")
        return core()[0].pid
    kind = {"step": dg.DagsterEventType.STEP_START, "run worker": dg.DagsterEventType.RUN_START}[victim]
    records = page.instance.get_records_for_run(run_id, of_type=kind).records
    return records[0].event_log_entry.get_dagster_event().pid


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_only_whole_results(page: DagsterPage) -> None:
    for directory in Path(page.data, "real_runs").iterdir():
        if not directory.name.startswith("."):
            read_complete_run(directory, allow_invalid=True)

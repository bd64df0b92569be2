"""Killing any of a measurement's processes, at any moment, leaves no process, no slot and no half
result behind.

The victims are what the kernel's OOM killer or a node's restart would hit: vLLM's engine core, the
stage's engine process, the Dagster step, the run worker, Dagster's daemon, the whole machine;
`cancel` is the page's own button.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest

from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets.core.run import RealRunMeta, read_complete_run
from gpu_timing_assets_tests.integration.dagster_page import (
    TERMINATE,
    DagsterPage,
    dagster_page,
    wait_until,
)

# the tests share their cores: how late a submission may be is judged elsewhere
TARGET = "hardware=cpu hardware.repeats=1 hardware.max_lateness_p99_ms=5000"
WORKLOAD = "smoke"
VICTIMS = ("engine core", "stage process", "step", "run worker", "cancel")
MOMENTS = ("start-up", "mid-replay", "writing")
ENGINE_MODULE = "gpu_timing_assets.measure.real_bench.engine_process"


@pytest.fixture(scope="module")
def vllm_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterPage]:
    with dagster_page(tmp_path_factory.mktemp("kill"), GPU_TIMING_TARGET=TARGET) as page:
        page.wait(page.materialize(["workload_spec"], WORKLOAD))
        yield page


@pytest.fixture(scope="module")
def null_engine_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterPage]:
    with dagster_page(
        tmp_path_factory.mktemp("kill-null"), GPU_TIMING_TARGET=f"{TARGET} backend=null_engine"
    ) as page:
        page.wait(page.materialize(["workload_spec"], WORKLOAD))
        yield page


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("victim", VICTIMS)
def test_kill_on_the_cpu_engine(vllm_page: DagsterPage, victim: str, moment: str):
    kill_and_check(vllm_page, victim, moment)


@pytest.mark.parametrize(
    ("victim", "moment"),
    [
        ("step", "mid-replay"),
        ("run worker", "mid-replay"),
        pytest.param("stage process", "mid-replay", marks=pytest.mark.slow),
        pytest.param("cancel", "mid-replay", marks=pytest.mark.slow),
    ],
)
def test_kill_without_an_engine(null_engine_page: DagsterPage, victim: str, moment: str):
    """The same processes but for the engine core, in seconds: the engine answers at once."""
    kill_and_check(null_engine_page, victim, moment)


@pytest.mark.parametrize("waited_for", [True, False])
def test_an_engine_that_ended_before_its_kill_is_no_pass(waited_for: bool):
    """Not one that is waited for, nor one that still stands in the process table."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        engine = psutil.Process(process.pid)
        assert family_of(engine) == [engine]
        engine.kill()
        if waited_for:
            process.wait()
        else:
            wait_until(lambda: engine.status() == psutil.STATUS_ZOMBIE, 10, "the engine's end")
        with pytest.raises(AssertionError, match="ended before the kill"):
            family_of(engine)


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

    wait_until(
        lambda: not any(map(alive, doomed)),
        10,
        lambda: (
            f"the end of {[process for process in doomed if alive(process)]} after killing the "
            f"{victim}"
        ),
        0.05,
    )
    took = time.monotonic() - begin
    status = page.wait(run_id, 300)
    # who kills a process (the kernel for lack of memory, an operator) would kill it again: nothing
    # is tried a second time
    expected = {"CANCELED"} if victim == "cancel" else {"FAILURE"}
    if (victim, moment) == ("engine core", "writing"):
        expected |= {
            "SUCCESS"
        }  # the core may have written its recording by then, and is not missed
    assert status in expected
    wait_until(lambda: page.held_slots("cpu") == 0, 15, "the pool's slot to be free")
    wait_until(lambda: not page.started_processes(), 10, page.describe_started)
    assert_only_whole_results(page)

    assert page.wait(page.materialize(["real_run"], WORKLOAD), 300) == "SUCCESS"
    assert_only_whole_results(page)
    print(f"{victim}, {moment}: processes gone after {took:.1f} s")


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.parametrize("moment", MOMENTS)
def test_killing_the_daemon_on_the_cpu_engine(tmp_path: Path, moment: str):
    kill_the_daemon(tmp_path, moment, TARGET)


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.parametrize("moment", MOMENTS)
def test_killing_the_machine_on_the_cpu_engine(tmp_path: Path, moment: str):
    kill_the_machine(tmp_path, moment, TARGET)


@pytest.mark.slow
def test_killing_the_daemon_without_an_engine(tmp_path: Path):
    kill_the_daemon(tmp_path, "mid-replay", f"{TARGET} backend=null_engine")


def test_killing_the_machine_without_an_engine(tmp_path: Path):
    kill_the_machine(tmp_path, "mid-replay", f"{TARGET} backend=null_engine")


def kill_the_daemon(folder: Path, moment: str, target: str) -> None:
    """`dagster dev` ends with its daemon; the run that is under way is measured to its end by its
    own worker.
    """
    with dagster_page(folder, GPU_TIMING_TARGET=target) as page:
        run_id = start_measuring(page, moment)
        page.daemon().kill()
        assert page.wait(run_id) == "SUCCESS"
        wait_until(lambda: page.held_slots("cpu") == 0, 15, "the pool's slot to be free")
        wait_until(lambda: not page.started_processes(), 10, page.describe_started)
        wait_until(lambda: page.process.poll() is not None, 30, "the page to end")
        assert_only_whole_results(page)
    with dagster_page(folder, GPU_TIMING_TARGET=target) as page:
        assert page.wait(page.materialize(["real_run"], WORKLOAD)) == "SUCCESS"


def kill_the_machine(folder: Path, moment: str, target: str) -> None:
    """Everything stops at once, and nothing is told; then the page is started again."""
    with dagster_page(folder, GPU_TIMING_TARGET=target) as page:
        run_id = start_measuring(page, moment)
        everything = page.all_processes()
        for send in (
            signal.SIGSTOP,
            signal.SIGKILL,
        ):  # stopped first, so that none reacts to the end of another
            for process in everything:
                process.send_signal(send)
        wait_until(lambda: not any(map(alive, everything)), 10, "the end of all processes")
        assert (page.status(run_id), page.held_slots("cpu")) == ("STARTED", 1)
    with dagster_page(folder, GPU_TIMING_TARGET=target) as page:
        begin = time.monotonic()
        wait_until(lambda: page.held_slots("cpu") == 0, 15, "the pool's slot to be free")
        assert page.wait(run_id, 15) == "FAILURE"
        print(
            f"machine, {moment}: slot free {time.monotonic() - begin:.1f} s after the page is back"
        )
        assert_only_whole_results(page)
        assert page.wait(page.materialize(["real_run"], WORKLOAD)) == "SUCCESS"
        assert_only_whole_results(page)


def start_measuring(page: DagsterPage, moment: str) -> str:
    assert page.wait(page.materialize(["workload_spec"], WORKLOAD)) == "SUCCESS"
    run_id = page.materialize(["real_run"], WORKLOAD)
    wait_for_engine(page)
    wait_for_moment(page, run_id, moment)
    return run_id


def test_a_killed_command_does_not_make_the_next_one_wait(tmp_path: Path):
    """`dagster asset materialize`, where no daemon frees what a dead run held."""
    (tmp_path / "dagster.yaml").write_text(
        (PROJECT_ROOT / "dagster.yaml")
        .read_text()
        .replace("data/.dagster", str(tmp_path / "storage"))
    )
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(tmp_path),
        "GPU_TIMING_DATA_ROOT": str(tmp_path / "data"),
        "TMPDIR": str(tmp_path),
        "GPU_TIMING_TARGET": f"{TARGET} backend=null_engine",
    }

    def materialize(asset: str) -> list[str]:
        return [
            str(Path(sys.executable).with_name("dagster")),
            "asset",
            "materialize",
            "-m",
            "gpu_timing_assets.definitions",
            "--select",
            asset,
            "--partition",
            WORKLOAD,
        ]

    subprocess.run(
        materialize("workload_spec"), cwd=PROJECT_ROOT, env=environment, check=True, timeout=60
    )
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        command = subprocess.Popen(materialize("real_run"), cwd=PROJECT_ROOT, env=environment)
        slots = instance.event_log_storage
        wait_until(
            lambda: slots.get_concurrency_info("cpu").claimed_slots,
            60,
            "the command to take the pool's slot",
            0.05,
        )
        command.kill()
        command.wait()
        assert slots.get_concurrency_info("cpu").claimed_slots
        subprocess.run(
            materialize("real_run"), cwd=PROJECT_ROOT, env=environment, check=True, timeout=60
        )
        statuses = sorted(run.status.value for run in instance.get_runs())
    assert statuses == ["FAILURE", "SUCCESS", "SUCCESS"]


def wait_for_engine(page: DagsterPage) -> psutil.Process:
    found: list[psutil.Process] = []

    def look() -> bool:
        found[:] = [
            process
            for process in page.started_processes()
            if ENGINE_MODULE in " ".join(process.cmdline())
        ]
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
        wait_until(
            lambda: list(runs.glob(".unfinished-session-*/replays/*/*/*.csv")),
            240,
            "the first table",
            0.001,
        )


def said(page: DagsterPage, run_id: str, beginning: str) -> bool:
    return any(line.startswith(beginning) for line in page.log_lines(run_id))


def processes_of_attempt(
    page: DagsterPage, engine: psutil.Process, victim: str
) -> list[psutil.Process]:
    """What has to be gone: the engine's processes, and the step's and the worker's if theirs is the
    kill.
    """
    doomed = family_of(engine)
    if victim == "run worker":
        doomed += [process for process in page.started_processes() if process not in doomed]
    return doomed


def family_of(engine: psutil.Process) -> list[psutil.Process]:
    """The engine's processes; of one that has ended there are none, and no kill would be seen."""
    assert alive(engine), f"the engine, process {engine.pid}, ended before the kill"
    return [engine, *engine.children(recursive=True)]


def find_victim(page: DagsterPage, run_id: str, engine: psutil.Process, victim: str) -> int:
    if victim == "stage process":
        return engine.pid
    if victim == "engine core":

        def core() -> list[psutil.Process]:
            return [
                child for child in engine.children(recursive=True) if "EngineCore" in command(child)
            ]

        wait_until(core, 60, "the engine core")
        return core()[0].pid
    kind = {"step": dg.DagsterEventType.STEP_START, "run worker": dg.DagsterEventType.RUN_START}[
        victim
    ]
    records = page.instance.get_records_for_run(run_id, of_type=kind).records
    return records[0].event_log_entry.get_dagster_event().pid


def command(process: psutil.Process) -> str:
    """A process's name and command line, nothing of one that has ended."""
    try:
        return " ".join([process.name(), *process.cmdline()])
    except psutil.Error:
        return ""


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_only_whole_results(page: DagsterPage) -> None:
    for directory in Path(page.data, "real_runs").iterdir():
        if not directory.name.startswith("."):
            read_complete_run(directory, RealRunMeta, allow_invalid=True)

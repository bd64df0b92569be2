"""The engine's process: its failures reach the parent, and nothing of it outlives either."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets.core.errors import (
    DeviceError,
    DiskFullError,
    EngineCrashError,
    EngineError,
    GpuTimingError,
    OutOfMemoryError,
    PresetError,
    WorkloadError,
)
from gpu_timing_assets.engines.child_process import run_engine_process, subprocess_launcher
from gpu_timing_assets.engines.process_tree import wait_for_exit

CHILD = "gpu_timing_assets_tests.unit.engines.helper_child"


def run_child(scratch: Path, do: str, python: str | None = None) -> None:
    run_engine_process(
        CHILD, {"do": do}, scratch, python, subprocess_launcher, memory_needed_bytes=3 * 2**30
    )


def pids(scratch: Path) -> list[int]:
    """Of the child and of a process that it started."""
    return json.loads((scratch / "pids.json").read_text())


def assert_gone(scratch: Path) -> None:
    for pid in pids(scratch):
        try:
            assert wait_for_exit(pid, timeout_s=10), f"process {pid} is left"
        finally:
            if Path(f"/proc/{pid}").exists() and not wait_for_exit(pid, 0):
                os.kill(pid, signal.SIGKILL)


def test_a_child_that_succeeds_leaves_its_result_and_no_process(tmp_path) -> None:
    run_child(tmp_path, "succeed")
    assert (tmp_path / "result.txt").read_text() == "done"
    assert_gone(tmp_path)


def test_a_failure_keeps_its_type_and_message(tmp_path) -> None:
    with pytest.raises(WorkloadError, match="^row 7 is wrong: mend it$"):
        run_child(tmp_path, "fail")
    assert_gone(tmp_path)


def test_a_crash_is_an_engine_error_in_one_line(tmp_path) -> None:
    with pytest.raises(EngineError, match="ZeroDivisionError: in the engine") as failed:
        run_child(tmp_path, "crash")
    assert "\n" not in str(failed.value)
    assert_gone(tmp_path)


@pytest.mark.parametrize(
    ("number", "kind", "message"),
    [
        (
            signal.SIGKILL,
            OutOfMemoryError,
            r"SIGKILL, probably out of memory: about 3.0 GiB are needed, \d+\.\d GiB are available",
        ),
        (
            signal.SIGILL,
            DeviceError,
            r"SIGILL: this CPU \(.*\) lacks an instruction.*doctor.*cpu_instruction_set=avx2",
        ),
        (signal.SIGSEGV, EngineCrashError, "SIGSEGV.*start it again"),
        (signal.SIGBUS, EngineCrashError, "SIGBUS: /dev/shm may be full"),
        (signal.SIGTERM, EngineError, "SIGTERM by somebody: start it again"),
    ],
)
def test_a_child_that_a_signal_ends_is_told_with_the_signal_and_the_remedy(
    tmp_path, number: signal.Signals, kind: type[GpuTimingError], message: str
) -> None:
    with pytest.raises(kind, match=message) as ended:
        run_child(tmp_path, f"end by {number.value}")
    assert type(ended.value) is kind
    assert_gone(tmp_path)


def test_a_full_disk_is_told_even_if_the_child_cannot_write_it_down(tmp_path) -> None:
    with pytest.raises(
        DiskFullError,
        match=r"no room is left on the disk \(.*MiB are free below .*GPU_TIMING_DATA_ROOT",
    ):
        run_child(tmp_path, "fill the disk")
    with pytest.raises(DiskFullError, match=r"no room is left on the disk"):
        run_child(tmp_path, "fill the disk of its scratch directory")


def test_a_child_that_exits_without_a_word_is_an_engine_error(tmp_path) -> None:
    with pytest.raises(EngineError, match="exit code 3"):
        run_child(tmp_path, "exit")


def test_the_failure_of_an_earlier_attempt_is_not_told_again(tmp_path) -> None:
    with pytest.raises(WorkloadError):
        run_child(tmp_path, "fail")
    run_child(tmp_path, "succeed")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_engine_dies_with_whoever_started_it(tmp_path, number) -> None:
    program = (
        # a shell that runs the tests in the background has them ignore SIGINT, and a child inherits
        # that
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pathlib import Path\nfrom gpu_timing_assets.engines.child_process import *\n"
        f"run_engine_process({CHILD!r}, {{'do': 'wait'}}, Path({str(tmp_path)!r}), None, "
        f"subprocess_launcher)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], cwd=PROJECT_ROOT, stderr=subprocess.DEVNULL
    )
    wait_until_written(tmp_path / "pids.json", parent)
    parent.send_signal(number)
    parent.wait(timeout=30)
    assert_gone(tmp_path)


def wait_until_written(path: Path, process: subprocess.Popen) -> None:
    # the helper replaces nothing: once the file has its closing bracket it is whole
    while not (path.exists() and path.read_text().endswith("]")):
        assert process.poll() is None, "the process ended before it began its work"
        time.sleep(0.02)


@pytest.mark.parametrize("python", ["/nowhere/python", "not-executable"])
def test_an_interpreter_that_cannot_be_run_is_named(tmp_path, python, monkeypatch) -> None:
    path = Path(python) if python.startswith("/") else tmp_path / python
    if path.parent == tmp_path:
        path.write_text("")
    monkeypatch.setenv("GPU_TIMING_INTERPRETERS", str(path))
    with pytest.raises(DeviceError, match=rf"backend.python={path} is not an executable"):
        run_child(tmp_path, "succeed", str(path))
    assert not (tmp_path / "pids.json").exists()


@pytest.fixture
def wrapper(tmp_path) -> Path:
    """An interpreter that leaves a trace of having been started."""
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\ntouch {tmp_path}/wrapped\nexec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return path


def test_another_interpreter_runs_the_child(tmp_path, wrapper, monkeypatch) -> None:
    monkeypatch.setenv("GPU_TIMING_INTERPRETERS", str(wrapper))
    run_child(tmp_path, "succeed", str(wrapper))
    assert (tmp_path / "wrapped").exists()


def test_an_interpreter_that_is_not_listed_is_not_started(tmp_path, wrapper) -> None:
    with pytest.raises(PresetError, match="GPU_TIMING_INTERPRETERS"):
        run_child(tmp_path, "succeed", str(wrapper))
    assert not (tmp_path / "wrapped").exists()

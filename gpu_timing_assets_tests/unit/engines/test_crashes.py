"""An engine of which a process has died: the cause is found in what the process left, and only what
may pass is retried.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets.core.errors import (
    DeviceError,
    EngineCrashError,
    EngineError,
    GpuTimingError,
    OutOfMemoryError,
)
from gpu_timing_assets.engines.vllm.crashes import ERRORS_FILE, fault_of_engine

GIB = 2**30
# as an engine does: its worker is forked, and what ends the worker is seen by nobody else
ENGINE = """
import json, logging, logging.config, os, signal, sys
from pathlib import Path
from gpu_timing_assets.engines.vllm.crashes import leave_reports_in
leave_reports_in(Path(sys.argv[1]))
worker = os.fork()
# each process of vLLM sets its logging up anew
logging.config.dictConfig(json.loads(Path(os.environ["VLLM_LOGGING_CONFIG_PATH"]).read_text()))
if not worker:
    logging.getLogger("vllm.executor").error("the worker has come up")
    os.kill(os.getpid(), int(sys.argv[2]))
os.waitpid(worker, 0)
"""


def fault_after(tmp_path: Path, number: int, exit_codes: tuple[int, ...] = ()) -> GpuTimingError:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("VLLM_")
    }
    command = [sys.executable, "-c", ENGINE, str(tmp_path), str(number)]
    subprocess.run(command, cwd=PROJECT_ROOT, env=environment, check=True, timeout=60)
    return fault_of_engine(tmp_path, exit_codes, "as it started", 3 * GIB)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (signal.SIGILL, DeviceError),
        (signal.SIGSEGV, EngineCrashError),
        (signal.SIGBUS, EngineCrashError),
    ],
)
def test_the_signal_of_a_forked_worker_is_found(
    tmp_path, number: signal.Signals, kind: type[GpuTimingError]
) -> None:
    fault = fault_after(tmp_path, number)
    assert type(fault) is kind
    assert (
        f"a process of the engine, as it started, {'ended' if kind is DeviceError else 'crashed'} "
        f"with {number.name}" in str(fault)
    )


def test_a_killed_engine_core_is_known_by_its_exit_code(tmp_path) -> None:
    fault = fault_of_engine(tmp_path, [-signal.SIGKILL], "in the middle of its work", 3 * GIB)
    assert type(fault) is OutOfMemoryError
    assert "SIGKILL, probably out of memory: about 3.0 GiB are needed" in str(fault)


def test_a_killed_worker_is_known_by_what_the_engine_core_logged(tmp_path) -> None:
    (tmp_path / ERRORS_FILE).write_text(
        "Worker proc VllmWorker-0 died unexpectedly (exit code: -9), shutting down executor.\n"
    )
    assert (
        type(fault_of_engine(tmp_path, [], "in the middle of its work", 3 * GIB))
        is OutOfMemoryError
    )


def test_a_worker_that_died_of_what_an_older_engine_does_not_tell_may_be_started_again(
    tmp_path,
) -> None:
    logged = (
        "Worker proc VllmWorker-0 died unexpectedly, shutting down executor.\n"
        "RuntimeError: Executor failed.\n"
    )
    (tmp_path / ERRORS_FILE).write_text(logged)
    assert (
        type(fault_of_engine(tmp_path, [1], "in the middle of its work", 3 * GIB))
        is EngineCrashError
    )


def test_an_exception_in_a_worker_is_the_cause_and_not_that_there_was_one(tmp_path) -> None:
    (tmp_path / ERRORS_FILE).write_text(
        'WorkerProc failed to start.\nTraceback (most recent call last):\n  File "x.py", line 3, '
        "in init\n"
        "ValueError: No available memory for the cache blocks. Try increasing it.\n"
        "Exception: WorkerProc initialization failed due to an exception in a background process. "
        "See stack trace for root cause.\n"
    )
    fault = fault_of_engine(tmp_path, [1], "as it started", 3 * GIB)
    assert type(fault) is EngineError
    assert (
        str(fault)
        == "the engine failed as it started: ValueError: No available memory for the cache "
        "blocks. Try increasing it."
    )


def test_an_engine_that_left_no_word_may_be_started_again(tmp_path) -> None:
    assert (
        type(fault_of_engine(tmp_path, [], "in the middle of its work", 3 * GIB))
        is EngineCrashError
    )


def test_what_vllm_logs_without_dying_is_no_fault_of_its_own(tmp_path) -> None:
    fault = fault_after(tmp_path, signal.SIGCONT, exit_codes=(-signal.SIGTERM,))
    assert "the worker has come up" in (tmp_path / ERRORS_FILE).read_text()
    assert "was ended with SIGTERM by somebody" in str(fault)
    assert os.path.getsize(tmp_path / ERRORS_FILE) > 0

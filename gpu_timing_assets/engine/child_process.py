"""Running engine work in a child process that leaves nothing behind: the parent's and the child's side.

The child reads a request file, writes into a scratch directory and, if it fails, says why in `failure.json` there.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from gpu_timing_assets.artifacts import errors
from gpu_timing_assets.artifacts.layout import PROJECT_ROOT
from gpu_timing_assets.engine.process_tree import lead_process_group_with_watchdog, wait_for_exit

FAILURE_FILE = "failure.json"
PIPES_VARIABLE = "DAGSTER_PIPES_CONTEXT"


class Launcher(Protocol):
    """Starts a command with an environment, waits for its end, raises if it ends with another exit code than 0."""

    def __call__(self, command: Sequence[str], env: Mapping[str, str]) -> None: ...


def subprocess_launcher(command: Sequence[str], env: Mapping[str, str]) -> None:
    """The launcher of the command line: the child's output goes where ours goes."""
    process = subprocess.Popen(list(command), env=dict(env))
    try:
        code = process.wait()
    except BaseException:
        process.terminate()
        if not wait_for_exit(process.pid, timeout_s=8):
            process.kill()
        process.wait()
        raise
    if code != 0:
        raise errors.EngineError(f"the engine's process ended with {_exit_text(code)}")


def run_engine_process(module: str, request: Mapping[str, Any], scratch: Path, python: str | None, launch: Launcher) -> None:
    """Run `python -m module <request file>` through `launch`.

    Raises what the child says it failed with, or `EngineError` if it died without a word.
    """
    if python and not os.access(python, os.X_OK):
        raise errors.DeviceError(f"backend.python={python} is not an executable file")
    request_file = scratch / "request.json"
    request_file.write_text(json.dumps(dict(request)), encoding="utf-8")
    (scratch / FAILURE_FILE).unlink(missing_ok=True)
    path = os.pathsep.join([str(PROJECT_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    try:
        launch([python or sys.executable, "-m", module, str(request_file)], env)
    except Exception as error:
        raise _failure(scratch) or errors.EngineError(
            f"the engine's process died ({' '.join(str(error).split())[:300]}): its log is above; start it again"
        ) from None
    if failure := _failure(scratch):
        raise failure


def engine_process_main(work: Callable[[dict[str, Any], Path, Callable[[str], None]], None]) -> None:
    """The child's `main`: calls `work(request, scratch, report)` with its processes bound to ours, and exits."""
    parent_pid = os.getppid()
    # a cancelled run needs no tidying: the watchdog ends what is left, the kernel frees locks and GPU memory
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    lead_process_group_with_watchdog(parent_pid)
    request_file = Path(sys.argv[1])
    scratch = request_file.parent
    try:
        request = json.loads(request_file.read_text(encoding="utf-8"))
        if PIPES_VARIABLE in os.environ:
            from dagster_pipes import open_dagster_pipes

            with open_dagster_pipes() as pipes:
                work(request, scratch, pipes.log.info)
        else:
            work(request, scratch, lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201
    except errors.GpuTimingError as error:
        _write_failure(scratch, type(error).__name__, str(error))
        os._exit(error.exit_code)
    except BaseException as error:
        traceback.print_exc()
        _write_failure(
            scratch, "EngineError", f"the engine's process failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        )
        os._exit(errors.EngineError.exit_code)
    # vLLM's threads can hold up a normal exit for seconds
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _write_failure(scratch: Path, kind: str, message: str) -> None:
    (scratch / FAILURE_FILE).write_text(json.dumps({"type": kind, "message": message}), encoding="utf-8")


def _failure(scratch: Path) -> errors.GpuTimingError | None:
    try:
        said = json.loads((scratch / FAILURE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    kind = getattr(errors, said["type"], errors.EngineError)
    return kind(said["message"])


def _exit_text(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

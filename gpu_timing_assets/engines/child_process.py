"""Running engine work in a child process that leaves nothing behind: the parent's and the child's
side.

The child reads a request file, writes into a scratch directory and, if it fails, says why in
`failure.json` there.
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

from gpu_timing_assets.config.settings import load_settings
from gpu_timing_assets.core import errors
from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets.core.disk import disk_fault
from gpu_timing_assets.engines.crashes import fault_of_exit
from gpu_timing_assets.engines.process_tree import lead_process_group_with_watchdog, wait_for_exit

FAILURE_FILE = "failure.json"
PIPES_VARIABLE = "DAGSTER_PIPES_CONTEXT"


class Launcher(Protocol):
    """Runs a command in an environment to its end; returns its exit code (−9: by signal 9)."""

    def __call__(self, command: Sequence[str], env: Mapping[str, str]) -> int: ...


def subprocess_launcher(command: Sequence[str], env: Mapping[str, str]) -> int:
    """The launcher of the command line: the child's output goes where ours goes."""
    process = subprocess.Popen(list(command), env=dict(env))
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        if not wait_for_exit(process.pid, timeout_s=8):
            process.kill()
        process.wait()
        raise


def run_engine_process(
    module: str,
    request: Mapping[str, Any],
    scratch: Path,
    python: str | None,
    launch: Launcher,
    memory_needed_bytes: int = 0,
) -> None:
    """Run `python -m module <request file>` through `launch`.

    Raises `PresetError` for an interpreter that the settings do not list, and else what the child
    says it failed with or, if it died without a word, what its exit code says
    (`memory_needed_bytes` is for that message).
    """
    if python and python not in load_settings().listed_interpreters:
        raise errors.PresetError(
            f"backend.python={python} is not listed, and a configuration may be somebody else's: "
            "list it in GPU_TIMING_INTERPRETERS (several separated by colons), or let "
            "GPU_TIMING_TARGET name it"
        )
    if python and not os.access(python, os.X_OK):
        raise errors.DeviceError(f"backend.python={python} is not an executable file")
    command, env = engine_command(module, request, scratch, python)
    if fault := fault_of_child(launch(command, env), scratch, memory_needed_bytes):
        raise fault


def engine_command(
    module: str, request: Mapping[str, Any], scratch: Path, python: str | None = None
) -> tuple[list[str], dict[str, str]]:
    """`(command, environment)` of a child whose request is now in `scratch`."""
    request_file = scratch / "request.json"
    request_file.write_text(json.dumps(dict(request)), encoding="utf-8")
    (scratch / FAILURE_FILE).unlink(missing_ok=True)
    path = os.pathsep.join([str(PROJECT_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    return [python or sys.executable, "-m", module, str(request_file)], env


def fault_of_child(
    code: int, scratch: Path, memory_needed_bytes: int = 0
) -> errors.GpuTimingError | None:
    """What a child that has ended with `code` says it failed with or, without a word, what the code
    says.
    """
    if failure := _failure(scratch):
        return failure
    return fault_of_exit(code, scratch, memory_needed_bytes) if code else None


def engine_process_main(
    work: Callable[[dict[str, Any], Path, Callable[[str], None]], None],
) -> None:
    """The child's `main`: `work(request, scratch, report)` with its processes bound to ours."""
    parent_pid = os.getppid()
    # a cancelled run needs no tidying: the watchdog ends what is left, the kernel frees the rest
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
    except BaseException as error:
        fault = _fault(error, scratch)
        if fault is not error:
            traceback.print_exc()
        try:
            _write_failure(scratch, fault)
        except OSError:
            # a full disk is then the fault, whatever it has led to, and the exit code has to say it
            os._exit(errors.DiskFullError.exit_code)
        os._exit(fault.exit_code)
    # vLLM's threads can hold up a normal exit for seconds
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _fault(error: BaseException, scratch: Path) -> errors.GpuTimingError:
    if isinstance(error, errors.GpuTimingError):
        return error
    if isinstance(error, OSError) and (fault := disk_fault(error, scratch)):
        return fault
    return errors.EngineError(
        f"the engine's process failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    )


def _write_failure(scratch: Path, fault: errors.GpuTimingError) -> None:
    failure = {"type": type(fault).__name__, "message": str(fault)}
    (scratch / FAILURE_FILE).write_text(json.dumps(failure), encoding="utf-8")


def _failure(scratch: Path) -> errors.GpuTimingError | None:
    if not (scratch / FAILURE_FILE).is_file():
        return None
    try:
        failure = json.loads((scratch / FAILURE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    kind = getattr(errors, failure["type"], errors.EngineError)
    return kind(failure["message"])

"""The edge of every command: what was raised becomes one line for a person, and an exit code."""

import os
import select
import sys
import tempfile
import traceback
from collections.abc import Callable

from gpu_timing_assets.core.disk import disk_fault
from gpu_timing_assets.core.errors import GpuTimingError

INTERRUPTED, READER_GONE, UNEXPECTED = 130, 141, 70


def run_to_exit_code(name: str, work: Callable[[], int]) -> int:
    """The exit code of `work`, of the fault that it met (told on stderr), 130 after Ctrl-C, 141
    when nobody reads its output any more (`| head`), or 70 after what nobody expected: its
    traceback is in a log that the line names.
    """
    try:
        code = work()
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        _say(name, "interrupted")
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return READER_GONE
        fault = _fault(error)
        if fault is None:
            _say(name, _unexpected(name, error))
            return UNEXPECTED
        _say(name, str(fault))
        return fault.exit_code


def _nobody_reads() -> bool:
    """Whether it is this command's own output that broke, and not a pipe to an engine."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    gone = any(event & select.POLLERR for _, event in output.poll(0))
    if gone:
        # what is still in the buffer would fail again when the interpreter ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return gone


def _fault(error: Exception) -> GpuTimingError | None:
    """What a person can mend; None if it is a fault of the project."""
    if isinstance(error, GpuTimingError):
        return error
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):
        return GpuTimingError(f"{error}: remove one of the links")
    if not isinstance(error, OSError):
        return None
    if full := disk_fault(error):
        return full
    if error.filename is None:
        return None
    return GpuTimingError(
        f"{error.filename!s:.500}: {error.strerror}: give this user access to it, or another path "
        "(results go where GPU_TIMING_DATA_ROOT says)"
    )


def _unexpected(name: str, error: Exception) -> str:
    told = f"{type(error).__name__}: {error!s:.500}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix=f"{name}-", suffix=".log", delete=False, errors="backslashreplace"
        ) as log:
            traceback.print_exception(error, file=log)
    except OSError as unwritten:
        return f"{told} (unexpected, and its log could not be written: {unwritten.strerror})"
    return f"{told} (unexpected: open an issue of this project, with the log {log.name})"


def _say(name: str, text: str) -> None:
    line = " ".join(f"{name}: {text}".split())
    sys.stderr.write(line.encode("utf-8", "backslashreplace").decode() + "\n")

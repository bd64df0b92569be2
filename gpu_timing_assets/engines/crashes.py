"""Why a process of an engine died, named for a person: from its exit code or from what it left on
disk as it died.
"""

import faulthandler
import json
import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path

from gpu_timing_assets.core import errors
from gpu_timing_assets.core.disk import full_disk
from gpu_timing_assets.core.machine import available_memory_bytes, cpu_instruction_set, cpu_model

FAULTS_FILE, ERRORS_FILE, LOGGING_FILE = (
    "engine_faults.log",
    "engine_errors.log",
    "engine_logging.json",
)
# a public setting of vLLM, which each of its processes follows, however it was started
LOGGING_VARIABLE = "VLLM_LOGGING_CONFIG_PATH"
# what `faulthandler` writes before the signal ends the process
_FAULTS = {
    "Illegal instruction": signal.SIGILL,
    "Segmentation fault": signal.SIGSEGV,
    "Bus error": signal.SIGBUS,
    "Aborted": signal.SIGABRT,
    "Floating point exception": signal.SIGFPE,
}
_ENDED_BY_SOMEBODY = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def leave_reports_in(scratch: Path) -> None:
    """Have this process, and those that it forks, leave in `scratch` which signal ended it, and
    vLLM's what it logs as an error.

    To be called before vLLM is imported, and after its logging level is set.
    """
    faulthandler.enable((scratch / FAULTS_FILE).open("w"), all_threads=False)
    (scratch / ERRORS_FILE).unlink(missing_ok=True)
    level = os.environ.get("VLLM_LOGGING_LEVEL", "WARNING")
    errors_file = {
        "class": "logging.FileHandler",
        "filename": str(scratch / ERRORS_FILE),
        "level": "ERROR",
        "delay": True,
    }
    configuration = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {"format": "%(levelname)s %(asctime)s [%(filename)s:%(lineno)d] %(message)s"}
        },
        "handlers": {
            "terminal": {
                "class": "logging.StreamHandler",
                "level": level,
                "formatter": "line",
                "stream": "ext://sys.stderr",
            },
            "errors": errors_file,
        },
        "loggers": {
            "vllm": {"handlers": ["terminal", "errors"], "level": level, "propagate": False}
        },
    }
    (scratch / LOGGING_FILE).write_text(json.dumps(configuration))
    os.environ.setdefault(LOGGING_VARIABLE, str(scratch / LOGGING_FILE))


def fault_of_engine(
    scratch: Path, exit_codes: Sequence[int], what: str, memory_needed_bytes: int
) -> errors.GpuTimingError:
    """The fault of an engine of which a process has died: `exit_codes` of those known, `what` was
    being done.
    """
    faults, logged = _text(scratch / FAULTS_FILE), _text(scratch / ERRORS_FILE)
    signals = [
        int(number) for text, number in _FAULTS.items() if f"Fatal Python error: {text}" in faults
    ]
    signals += [-int(code) for code in re.findall(r"exit code: (-\d+)", logged)]
    signals += [-code for code in exit_codes if code < 0]
    if signals:
        return fault_of_signal(signals[0], f"a process of the engine, {what},", memory_needed_bytes)
    if "died unexpectedly" not in logged and (cause := _first_exception(logged)):
        return errors.EngineError(f"the engine failed {what}: {cause}")
    return errors.EngineCrashError(f"the engine died {what}: its log is above; start it again")


def fault_of_exit(code: int, scratch: Path, memory_needed_bytes: int) -> errors.GpuTimingError:
    """The fault of the engine's own process, which left no word in `scratch`, from its exit
    code.
    """
    if code < 0:
        return fault_of_signal(-code, "the engine's process", memory_needed_bytes)
    if code == errors.DiskFullError.exit_code:
        return full_disk(scratch)
    return errors.EngineError(
        f"the engine's process ended with exit code {code} and could not say why: its log is above"
    )


def fault_of_signal(number: int, who: str, memory_needed_bytes: int) -> errors.GpuTimingError:
    """Never worth a second start: an instruction that the CPU lacks, too little memory, an end that
    somebody asked for.
    """
    name = signal.Signals(number).name
    if number == signal.SIGILL:
        return errors.DeviceError(
            f"{who} ended with SIGILL: this CPU ({cpu_model()}: "
            f"{cpu_instruction_set() or 'no AVX2'}) lacks an instruction of the "
            "library that was loaded: `python -m gpu_timing_assets doctor` says which one fits, "
            "hardware.cpu_instruction_set=avx2 asks for the least"
        )
    if number == signal.SIGKILL:
        available = available_memory_bytes()
        free = f", {available / 2**30:.1f} GiB are available now" if available is not None else ""
        return errors.OutOfMemoryError(
            f"{who} ended with SIGKILL, probably out of memory: about "
            f"{memory_needed_bytes / 2**30:.1f} GiB are needed{free}: "
            "end other programs, or take a smaller model or hardware.kv_cache_bytes"
        )
    if number in _ENDED_BY_SOMEBODY:
        return errors.EngineError(f"{who} was ended with {name} by somebody: start it again")
    shared_memory = ": /dev/shm may be full" if number == signal.SIGBUS else ""
    return errors.EngineCrashError(
        f"{who} crashed with {name}{shared_memory}: its log is above; start it again"
    )


def _first_exception(logged: str) -> str | None:
    """The first last line of a traceback that says more than that there was one: `ValueError:
    …`.
    """
    found = re.findall(r"^(?:\S+ )*((?:\w+\.)*\w*(?:Error|Exception): .+)$", logged, re.MULTILINE)
    own = [
        line
        for line in found
        if "See root cause above" not in line and "See stack trace" not in line
    ]
    return " ".join(own[0].split())[:300] if own else None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

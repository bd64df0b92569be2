"""Why one of vLLM's processes died, from what it left on disk as it died."""

import faulthandler
import json
import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path

from gpu_timing_assets.core import errors
from gpu_timing_assets.engines.crashes import fault_of_signal

FAULTS_FILE = "engine_faults.log"
ERRORS_FILE = "engine_errors.log"
LOGGING_FILE = "engine_logging.json"
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


def leave_reports_in(scratch: Path) -> None:
    """Have this process, and those that it forks, leave in `scratch` which signal ended it, and
    what vLLM logs as an error.

    To be called before vLLM is imported, and after its logging level is set.
    """
    faulthandler.enable((scratch / FAULTS_FILE).open("w"), all_threads=False)
    (scratch / ERRORS_FILE).unlink(missing_ok=True)
    level = os.environ.get("VLLM_LOGGING_LEVEL", "WARNING")
    line = {"format": "%(levelname)s %(asctime)s [%(filename)s:%(lineno)d] %(message)s"}
    terminal = {"class": "logging.StreamHandler", "level": level, "stream": "ext://sys.stderr"}
    log = {"class": "logging.FileHandler", "filename": str(scratch / ERRORS_FILE), "delay": True}
    handlers = {"terminal": {**terminal, "formatter": "line"}, "errors": {**log, "level": "ERROR"}}
    configuration = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": line},
        "handlers": handlers,
        "loggers": {"vllm": {"handlers": [*handlers], "level": level, "propagate": False}},
    }
    (scratch / LOGGING_FILE).write_text(json.dumps(configuration))
    os.environ.setdefault(LOGGING_VARIABLE, str(scratch / LOGGING_FILE))


def fault_of_engine(
    scratch: Path, exit_codes: Sequence[int], what: str, memory_needed_bytes: int
) -> errors.GpuTimingError:
    """Why a process of an engine died; `exit_codes`: those known, `what`: what was being done."""
    faults, logged = _text(scratch / FAULTS_FILE), _text(scratch / ERRORS_FILE)
    fatal = "Fatal Python error: "
    signals = [int(number) for text, number in _FAULTS.items() if fatal + text in faults]
    signals += [-int(code) for code in re.findall(r"exit code: (-\d+)", logged)]
    signals += [-code for code in exit_codes if code < 0]
    if signals:
        return fault_of_signal(signals[0], f"a process of the engine, {what},", memory_needed_bytes)
    if "died unexpectedly" not in logged and (cause := _first_exception(logged)):
        return errors.EngineError(f"the engine failed {what}: {cause}")
    return errors.EngineCrashError(f"the engine died {what}: its log is above; start it again")


def _first_exception(logged: str) -> str | None:
    """The first last line of a traceback that names a cause: `ValueError: …`."""
    found = re.findall(r"^(?:\S+ )*((?:\w+\.)*\w*(?:Error|Exception): .+)$", logged, re.MULTILINE)
    no_cause = re.compile("root cause above|stack trace")
    causes = [line for line in found if not no_cause.search(line)]
    return " ".join(causes[0].split())[:300] if causes else None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

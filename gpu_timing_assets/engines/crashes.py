"""Why a process of an engine died, named for a person: from its exit code."""

import signal
from pathlib import Path

from gpu_timing_assets.core import errors
from gpu_timing_assets.core.disk import full_disk
from gpu_timing_assets.core.machine import available_memory_bytes, cpu_instruction_set, cpu_model

_ENDED_BY_SOMEBODY = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def fault_of_exit(code: int, scratch: Path, memory_needed_bytes: int) -> errors.GpuTimingError:
    """The fault of the engine's own process that left no word in `scratch`, from its exit code."""
    if code < 0:
        return fault_of_signal(-code, "the engine's process", memory_needed_bytes)
    if code == errors.DiskFullError.exit_code:
        return full_disk(scratch)
    return errors.EngineError(
        f"the engine's process ended with exit code {code} and could not say why: its log is above"
    )


def fault_of_signal(number: int, who: str, memory_needed_bytes: int) -> errors.GpuTimingError:
    """What no second start mends is told apart: missing instructions, memory, somebody's wish."""
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
    crash = f"{who} crashed with {name}"
    crash += ": /dev/shm may be full" if number == signal.SIGBUS else ""
    return errors.EngineCrashError(f"{crash}: its log is above; start it again")

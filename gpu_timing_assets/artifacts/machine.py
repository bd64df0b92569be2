"""What this machine has, as its kernel tells: nothing here needs a package, so that it can be asked before one is installed."""

import platform
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

InstructionSet = Literal["avx2", "avx512", "avx512_bf16"]
# each contains those before it; vLLM's CPU builds are one for each (its `CpuPlatform.import_kernels`)
INSTRUCTION_SETS: tuple[InstructionSet, ...] = ("avx2", "avx512", "avx512_bf16")
NATIVE_LIBRARIES: dict[InstructionSet, str] = {"avx2": "_C_AVX2", "avx512": "_C_AVX512", "avx512_bf16": "_C"}
CPUINFO, MEMINFO = Path("/proc/cpuinfo"), Path("/proc/meminfo")
# three processes on two idle cores of an AMD EPYC (Zen 5): what `slowdown` is relative to
REFERENCE_S, WORK_PROCESSES, WORK_ROUNDS = 0.24, 3, 8_000_000


def cpu_model() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_instruction_set(limit: InstructionSet | None = None) -> InstructionSet | None:
    """The widest of `INSTRUCTION_SETS` that the CPU has, at most `limit`; None without AVX2, which is the least that vLLM takes."""
    flags = set((_cpuinfo("flags") or "").split())
    has: dict[InstructionSet, bool] = {
        "avx2": "avx2" in flags,
        "avx512": "avx512f" in flags,
        "avx512_bf16": {"avx512f", "avx512_bf16"} <= flags,
    }
    allowed = INSTRUCTION_SETS[: INSTRUCTION_SETS.index(limit) + 1] if limit else INSTRUCTION_SETS
    return next((name for name in reversed(allowed) if has[name]), None)


def available_memory_bytes() -> int | None:
    """What a new process can take: the kernel's estimate, or what is left in this process's memory cgroup if that is less."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", _text(MEMINFO), re.MULTILINE)
    left = [int(found[1]) * 1024] if found else []
    for limit, usage in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        numbers = [_text(Path(path)).strip() for path in (limit, usage)]
        if all(number.isdigit() for number in numbers):
            left.append(max(0, int(numbers[0]) - int(numbers[1])))
    return min(left, default=None)


def out_of_memory_kills() -> int:
    """How many processes the kernel has ended for lack of memory since it booted (0 where it does not say)."""
    found = re.search(r"^oom_kill (\d+)", _text(Path("/proc/vmstat")), re.MULTILINE)
    return int(found[1]) if found else 0


def command_of(pid: int) -> str | None:
    """The command line of a process, cut to 80 characters; None if it is gone."""
    line = " ".join(_text(Path(f"/proc/{pid}/cmdline")).replace("\0", " ").split())
    return (line if len(line) <= 80 else f"{line[:77]}…") or None


def slowdown() -> float:
    """How much longer three processes take here and now than on two idle cores of `REFERENCE_S`'s machine (about 0.3 s).

    An engine on a CPU is three busy processes: client, engine core, worker. Slow cores, few cores and busy neighbours count alike.
    """
    work = [sys.executable, "-S", "-E", "-c", f"for _ in range({WORK_ROUNDS}): pass"]
    begin = time.monotonic()
    processes = [subprocess.Popen(work) for _ in range(WORK_PROCESSES)]
    for process in processes:
        process.wait()
    return (time.monotonic() - begin) / REFERENCE_S


def _cpuinfo(key: str) -> str | None:
    found = re.search(rf"^{key}\s*:\s*(.*)$", _text(CPUINFO), re.MULTILINE)
    return found[1].strip() if found else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

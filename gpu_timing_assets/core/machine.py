"""What this machine has, as its kernel tells: asked before any package is installed."""

import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

InstructionSet = Literal["avx2", "avx512", "avx512_bf16"]
# each contains those before it; vLLM's CPU builds are one for each (its
# `CpuPlatform.import_kernels`)
INSTRUCTION_SETS: tuple[InstructionSet, ...] = ("avx2", "avx512", "avx512_bf16")
NATIVE_LIBRARIES: dict[InstructionSet, str] = {
    "avx2": "_C_AVX2",
    "avx512": "_C_AVX512",
    "avx512_bf16": "_C",
}
CPUINFO, MEMINFO = Path("/proc/cpuinfo"), Path("/proc/meminfo")
# three processes on two idle cores of an AMD EPYC (Zen 5): what `slowdown` is relative to
REFERENCE_S, WORK_PROCESSES, WORK_ROUNDS = 0.24, 3, 8_000_000


def cpu_model() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_instruction_set(limit: InstructionSet | None = None) -> InstructionSet | None:
    """The widest of `INSTRUCTION_SETS` that the CPU has, at most `limit`; None without AVX2, which
    is the least that vLLM takes.
    """
    flags = set((_cpuinfo("flags") or "").split())
    has: dict[InstructionSet, bool] = {
        "avx2": "avx2" in flags,
        "avx512": "avx512f" in flags,
        "avx512_bf16": {"avx512f", "avx512_bf16"} <= flags,
    }
    allowed = INSTRUCTION_SETS[: INSTRUCTION_SETS.index(limit) + 1] if limit else INSTRUCTION_SETS
    return next((name for name in reversed(allowed) if has[name]), None)


def native_library_of_cpu(limit: InstructionSet | None = None) -> str | None:
    """The library that vLLM loads on this CPU; None without AVX2."""
    instructions = cpu_instruction_set(limit)
    return NATIVE_LIBRARIES[instructions] if instructions else None


def available_memory_bytes() -> int | None:
    """What a new process can take: the kernel's estimate, or what is left in a memory cgroup of
    this process if that is less.
    """
    found = re.search(r"^MemAvailable:\s+(\d+) kB", _text(MEMINFO), re.MULTILINE)
    left = [int(found[1]) * 1024] if found else []
    for group in _memory_cgroups():
        for limit, usage in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            numbers = [_text(group / name).strip() for name in (limit, usage)]
            if all(number.isdigit() for number in numbers):
                # files that were read or written count as used, and are given up when memory is
                # asked for
                pattern = re.compile(r"^(?:total_)?(?:in)?active_file (\d+)$", re.MULTILINE)
                cached = pattern.findall(_text(group / "memory.stat"))
                left.append(max(0, int(numbers[0]) - int(numbers[1]) + sum(map(int, cached[-2:]))))
    return min(left, default=None)


def _memory_cgroups() -> Iterator[Path]:
    """The folders of this process's memory cgroup and those above it, of cgroups v2 and v1."""
    for line in _text(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "" or "memory" in controllers.split(","):
            root = Path("/sys/fs/cgroup", "memory" if controllers else "")
            group = root / path.lstrip("/")
            yield from (group, *(parent for parent in group.parents if parent.is_relative_to(root)))


def command_of(pid: int) -> str | None:
    """The command line of a process, cut to 80 characters; None if it is gone."""
    line = " ".join(_text(Path(f"/proc/{pid}/cmdline")).replace("\0", " ").split())
    return (line if len(line) <= 80 else f"{line[:77]}…") or None


def slowdown() -> float:
    """How much longer three processes take here and now than on two idle cores of `REFERENCE_S`'s
    machine (about 0.3 s).

    An engine on a CPU is three busy processes: client, engine core, worker. Slow cores, few cores
    and busy neighbours count alike.
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

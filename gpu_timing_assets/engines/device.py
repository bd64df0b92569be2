"""The device an engine runs on: whether it is the target's, and one engine at a time on it."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gpu_timing_assets.config.hardware import HardwarePreset, presets_of_gpu
from gpu_timing_assets.core.errors import DeviceError
from gpu_timing_assets.core.locks import exclusive_lock, lock_of_device
from gpu_timing_assets.core.machine import cpu_model
from gpu_timing_assets.core.provenance import visible_gpus

VISIBLE_VARIABLE = "CUDA_VISIBLE_DEVICES"


def device_name(hardware: HardwarePreset) -> str:
    """The name of the CPU or of the target's GPU.

    Raises `DeviceError` if there is no GPU with that index or if it is not the target's.
    """
    if hardware.device == "cpu":
        return cpu_model()
    return _gpus(hardware, 1)[0]["name"]


def device_locks(hardware: HardwarePreset, num_gpus: int = 1) -> dict[str, Path]:
    """The lock file of each device that an engine of this target holds, by the device's name."""
    return _locks([] if hardware.device == "cpu" else _gpus(hardware, num_gpus))


def _locks(gpus: list[dict[str, str]]) -> dict[str, Path]:
    """By GPU uuid; without GPUs the CPU is the device."""
    return {
        f"device {key}": lock_of_device(key) for key in [gpu["uuid"] for gpu in gpus] or ["cpu"]
    }


@contextmanager
def exclusive_device(
    hardware: HardwarePreset, num_gpus: int = 1, report: Callable[[str], None] | None = None
) -> Iterator[str]:
    """Hold the device's locks (an `flock` by GPU uuid, released by the kernel when the holder dies)
    and show CUDA these GPUs alone. To be entered before torch is imported. Yields the device's
    name.

    `hardware.gpu_index` counts within `$CUDA_VISIBLE_DEVICES` where a scheduler or a user has set
    it. Waits up to `hardware.busy_timeout_s` for another engine of this project that holds one of
    them, and `report`s it. Raises `BusyError` after that, `DeviceError` as `device_name`.
    """
    gpus = [] if hardware.device == "cpu" else _gpus(hardware, num_gpus)
    with ExitStack() as locks:
        for device, path in _locks(gpus).items():
            wait_s = hardware.busy_timeout_s
            locks.enter_context(exclusive_lock(path, device, timeout_s=wait_s, report=report))
        if gpus:
            # CUDA's own order is by speed, that of nvidia-smi by bus
            os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
            os.environ[VISIBLE_VARIABLE] = ",".join(gpu["index"] for gpu in gpus)
        yield gpus[0]["name"] if gpus else cpu_model()


def _gpus(hardware: HardwarePreset, count: int) -> list[dict[str, str]]:
    gpus = visible_gpus()
    if not gpus:
        raise DeviceError(
            f"target {hardware.name!r} needs a GPU and `nvidia-smi` shows none: run this on such "
            f"a machine, or use hardware=cpu"
        )
    if allowed := os.environ.get(VISIBLE_VARIABLE):
        named = [name.strip() for name in allowed.split(",")]
        gpus = [
            gpu
            for name in named
            for gpu in gpus
            if name == gpu["index"] or gpu["uuid"].startswith(name)
        ]
    if hardware.gpu_index + count > len(gpus):
        more = f" and {count - 1} more" if count > 1 else ""
        raise DeviceError(
            f"target {hardware.name!r} asks for GPU {hardware.gpu_index}{more}, this process sees "
            f"{len(gpus)}: "
            f"set hardware.gpu_index (and {VISIBLE_VARIABLE})"
        )
    chosen = gpus[hardware.gpu_index : hardware.gpu_index + count]
    for gpu in chosen:
        if hardware.gpu_name and not re.search(hardware.gpu_name, gpu["name"]):
            fitting = " or ".join(presets_of_gpu(gpu["name"]))
            remedy = f"use hardware={fitting}" if fitting else "add a hardware preset for it"
            raise DeviceError(
                f"GPU {gpu['index']} is a {gpu['name']}, target {hardware.name!r} expects "
                f"{hardware.gpu_name}: {remedy}"
            )
    return chosen

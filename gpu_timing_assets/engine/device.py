"""The device an engine runs on: whether it is the target's, and one engine at a time on it."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpu_timing_assets.artifacts.directories import exclusive_lock
from gpu_timing_assets.artifacts.errors import DeviceError
from gpu_timing_assets.artifacts.provenance import cpu_model, visible_gpus
from gpu_timing_assets.presets.target import HardwarePreset


def device_name(hardware: HardwarePreset) -> str:
    """The name of the CPU or of the target's GPU.

    Raises `DeviceError` if there is no GPU with that index or if it is not the target's.
    """
    if hardware.device == "cpu":
        return cpu_model()
    return _gpu(hardware)["name"]


@contextmanager
def exclusive_device(hardware: HardwarePreset) -> Iterator[None]:
    """Hold the device's lock (an `flock` by GPU uuid, released by the kernel when the holder dies).

    Raises `BusyError` if another engine of this project holds it.
    """
    key = "cpu" if hardware.device == "cpu" else _gpu(hardware)["uuid"]
    with exclusive_lock(Path(tempfile.gettempdir()) / f"gpu-timing-{key}.lock", f"device {key}"):
        yield


def _gpu(hardware: HardwarePreset) -> dict[str, str]:
    gpus = visible_gpus()
    if not gpus:
        raise DeviceError(
            f"target {hardware.name!r} needs a GPU and `nvidia-smi` shows none: run this on such a machine, or use hardware=cpu"
        )
    if hardware.gpu_index >= len(gpus):
        raise DeviceError(
            f"target {hardware.name!r} asks for GPU {hardware.gpu_index}, this machine has {len(gpus)}: set hardware.gpu_index"
        )
    gpu = gpus[hardware.gpu_index]
    if hardware.gpu_name and not re.search(hardware.gpu_name, gpu["name"]):
        near = next((name for name in ("a100", "h100", "h200") if name.upper() in gpu["name"]), None)
        remedy = f"use hardware={near}" if near else "add a hardware preset for it"
        raise DeviceError(
            f"GPU {hardware.gpu_index} is a {gpu['name']}, target {hardware.name!r} expects {hardware.gpu_name}: {remedy}"
        )
    return gpu

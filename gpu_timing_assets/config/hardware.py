"""What an engine runs on, what is asked of a measurement there, and where Dagster runs it."""

import re
from typing import Literal

from pydantic import Field

from gpu_timing_assets.config.base import Preset
from gpu_timing_assets.config.preset_file import read_preset
from gpu_timing_assets.core.data_root import NAME_PATTERN, RESOURCES
from gpu_timing_assets.core.machine import InstructionSet

HARDWARE_PRESETS = RESOURCES / "presets" / "hardware"


class HardwarePreset(Preset):
    """What the engine runs on, and what is asked of a measurement there.

    Vidur has no device or node SKU for a CPU or an H200, so the nearest stands in: nothing of it
    enters the timing, which comes from the bundle.
    """

    name: str = Field(pattern=NAME_PATTERN)
    """Name of this preset."""

    device: Literal["cpu", "cuda"]
    """Torch's name for the kind of device."""

    gpu_name: str | None = None
    """Regular expression that the GPU's name, as `nvidia-smi` gives it, must match."""

    gpu_index: int = Field(default=0, ge=0)
    """Index of the first GPU to use among those that are visible."""

    kv_cache_bytes: int | None = Field(default=None, gt=0)
    """Size of the KV cache in bytes; null: a share of the memory
    (`backend.gpu_memory_utilization`)."""

    vidur_device: str
    """Vidur's device SKU: needed to start it, without effect on the times."""

    vidur_network_device: str
    """Vidur's node SKU: needed to start it, without effect on the times."""

    max_lateness_p99_ms: float = Field(gt=0)
    """Lateness of submissions, in ms at p99, above which a real run is invalid."""

    repeats: int = Field(ge=1)
    """Number of replays of a workload in one engine start; their differences are the noise."""

    omp_num_threads: int | None = Field(default=None, ge=1)
    """Number of OpenMP threads of the engine; null: torch's own default."""

    cpu_instruction_set: InstructionSet | None = None
    """Widest vector instructions that a CPU engine may use, to try here what a lesser CPU does;
    null: all that the CPU has."""

    busy_timeout_s: float = Field(default=600, ge=0)
    """Seconds to wait for another process that holds the device."""

    pool: str | None = Field(default=None, pattern=NAME_PATTERN)
    """Dagster pool and Celery queue of the assets that measure on this hardware; null: the
    preset's name."""

    kubernetes_node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels of the Kubernetes nodes that have this hardware."""

    ray_accelerator_type: str | None = None
    """Ray's name for the accelerator, which a Ray worker must have."""

    @property
    def pool_name(self) -> str:
        return self.pool or self.name


def presets_of_gpu(name: str) -> list[str]:
    """The hardware presets whose `gpu_name` matches the name of a GPU."""
    found = []
    for file in sorted(HARDWARE_PRESETS.glob("*.yaml")):
        pattern = read_preset(file).get("gpu_name")
        if pattern and re.search(pattern, name):
            found.append(file.stem)
    return found

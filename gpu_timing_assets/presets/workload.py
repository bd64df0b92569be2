"""What a workload is made from."""

from pydantic import Field

from gpu_timing_assets.artifacts.layout import WORKLOAD_ID_PATTERN
from gpu_timing_assets.presets.base import Preset


class WorkloadPreset(Preset):
    workload_id: str = Field(pattern=WORKLOAD_ID_PATTERN)
    seed: int = 0

"""vLLM's V1 engine behind `AsyncLLM` (tried with 0.26.0 on an H100 and an H200, 0.32.0 on CPUs)."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from gpu_timing_assets.config.backend import BackendPreset
from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.engines.base import Engine, EnginePlugin


class VllmPreset(BackendPreset):
    """vLLM and its settings. `null` stands for vLLM's own default, which `run_meta.json` then
    records.
    """

    name: Literal["vllm"] = "vllm"
    """Name of the engine."""

    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    """Share of the GPU's memory that the engine may take."""

    enforce_eager: bool = False
    """Run without torch.compile and CUDA graphs."""

    async_scheduling: bool | None = None
    """Schedule the next step while this one runs; null: on a GPU."""

    enable_prefix_caching: bool = False
    """Reuse the KV blocks of equal prompt beginnings."""

    def profiled_settings(self) -> dict[str, Any]:
        chosen = (
            {} if self.async_scheduling is None else {"async_scheduling": self.async_scheduling}
        )
        return {
            **super().profiled_settings(),
            "enforce_eager": self.enforce_eager,
            "enable_prefix_caching": self.enable_prefix_caching,
            **chosen,
        }


def _start(config: ExperimentConfig, scratch: Path, device_name: str) -> Engine:
    from gpu_timing_assets.engines.vllm.engine import VllmEngine

    assert isinstance(config.backend, VllmPreset)
    return VllmEngine(config.model, config.hardware, config.backend, scratch, device_name)


ENGINE = EnginePlugin("vllm", VllmPreset, _start)

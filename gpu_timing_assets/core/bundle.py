"""A profiling bundle on disk: its files, its tables and its metadata.

compute/<hardware>/<model>/   mlp.csv and attention.csv: kernels, in the schema of Vidur 0.0.26, ms
head.csv                      lm_head and sampler by number of requests, ms
all_reduce.csv                with tensor parallelism: one all-reduce by number of tokens, ms
host/                         burst_steps.csv, burst_requests.csv: the engine under bursts; of the
                              held-out ones burst_tokens.csv, of storms burst_batches.csv; ns
cpu_overheads.csv             the same in the schema of Vidur's CPU-overhead profiler, ms
engine.json                   what the engine resolved (EngineParams)
bundle_meta.json, run_meta.json, config.json
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from gpu_timing_assets.core.engine_params import ModelDimensions
from gpu_timing_assets.core.files import Metadata
from gpu_timing_assets.core.host_probe import HostProbe
from gpu_timing_assets.core.names import Name, Sha256, UtcTime
from gpu_timing_assets.core.tables.schemas import (
    ALL_REDUCE,
    ATTENTION,
    BURST_REQUESTS,
    BURST_STEPS,
    BURST_TOKENS,
    HEAD,
    MLP,
)
from gpu_timing_assets.core.tables.table import Table

Frames = Mapping[Table, pd.DataFrame]

ENGINE_FILE, BUNDLE_META_FILE = "engine.json", "bundle_meta.json"


class QualityCheck(Metadata):
    """`value` was found, `bound` is what it is held against, `what` says it in words."""

    passed: bool
    value: Any
    bound: Any
    what: str


class FitError(Metadata):
    """Of a fit on `points` points that it has not seen, in per cent."""

    median: float
    max: float
    points: int


class TimeFit(Metadata):
    """A fit of the time model: the steps that it rests on, the median deviation of one of them,
    and half the 95 % interval of its level. `factor`: of a factor on kernels, its value.
    """

    rows: int
    residual_pct: float
    interval_pct: float
    factor: float | None = None


class SelfTest(Metadata):
    """A simulation of bursts that no fit has seen against what was recorded of them.

    `error_pct`: by statistic (`ITL p50`), 100 · (simulated − recorded) / recorded. `layers_pct`:
    the same for each layer of the time model alone.
    """

    bursts: int
    requests: int
    error_pct: dict[str, float]
    layers_pct: dict[str, float]


class Repeatability(Metadata):
    """How far bundles of one target, measured one after another at `measured_at`, lie apart.

    `spread_pct`: by statistic (`ITL p50`), 100 · (largest − smallest) / mean of what each predicts
    of the same bursts.
    """

    measured_at: tuple[str, ...]
    spread_pct: dict[str, float]


class BundleMeta(Metadata):
    """What a bundle measured, how well, and how long that took (`bundle_meta.json`).

    `quality`: the checks by name. `fitted_error_pct`: by operator. `fits`: the parts of the time
    model by name. `host_probes`: the host's speed while it was measured. `repeatability`: of this
    bundle and those measured after it, if there are any.
    """

    schema_version: Literal[1] = 1
    model: Name
    hardware: Name
    engine: str
    engine_version: str
    device_name: str
    tensor_parallel_size: int
    model_dimensions: ModelDimensions
    bundle_config_sha256: Sha256
    profiling_preset: str
    measured_at: UtcTime
    max_num_tokens: int
    max_decode_batch_size: int
    max_context_tokens: int
    duration_s: dict[str, float]
    quality: dict[str, QualityCheck] = Field(default_factory=dict)
    fitted_error_pct: dict[str, FitError] = Field(default_factory=dict)
    fits: dict[str, TimeFit] = Field(default_factory=dict)
    self_test: SelfTest | None = None
    host_probes: tuple[HostProbe, ...] = ()
    repeatability: Repeatability | None = None

    @property
    def failed_checks(self) -> list[str]:
        return [f"{name}: {check.what}" for name, check in self.quality.items() if not check.passed]

    @property
    def refusal(self) -> str | None:
        """Why nothing may be simulated from this bundle; None if it may."""
        tested = self.quality.get("self_test")
        if tested is None or tested.passed:
            return None
        found = f"{tested.value} %, the bound is {tested.bound} % ({tested.what})"
        return f"the bundle failed its self-test: {found}"


def compute_dir(root: Path, hardware: str, model: str) -> Path:
    return root / "compute" / hardware / model


def host_dir(root: Path) -> Path:
    return root / "host"


def bundle_tables(
    root: Path, hardware: str, model: str, tensor_parallel_size: int = 1
) -> dict[Table, Path]:
    """Each table of a bundle with its directory."""
    kernels = compute_dir(root, hardware, model)
    return {
        **({ALL_REDUCE: root} if tensor_parallel_size > 1 else {}),
        MLP: kernels,
        ATTENTION: kernels,
        HEAD: root,
        BURST_STEPS: host_dir(root),
        BURST_REQUESTS: host_dir(root),
        BURST_TOKENS: host_dir(root),
    }

"""A profiling bundle in memory: read once, checked, and given to whoever needs it."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gpu_timing_assets.config.dtype import possible_dtypes
from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.config.model_card import card_directory, read_model_dimensions
from gpu_timing_assets.core.bundle import (
    BUNDLE_META_FILE,
    ENGINE_FILE,
    BundleMeta,
    Frames,
    bundle_tables,
)
from gpu_timing_assets.core.bundle_agreement import check_agreement
from gpu_timing_assets.core.directories import recover_replaced
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.errors import ArtifactError, ProfilingBundleError, SimulationError
from gpu_timing_assets.core.files import read_metadata
from gpu_timing_assets.core.manifest import verify_directory
from gpu_timing_assets.core.tables.invariants import check_context
from gpu_timing_assets.core.tables.measurements import check_measurements
from gpu_timing_assets.core.tables.schemas import (
    ALL_REDUCE,
    ATTENTION,
    BURST_REQUESTS,
    BURST_STEPS,
    BURST_TOKENS,
    HEAD,
    MLP,
    OBSERVED,
)
from gpu_timing_assets.core.tables.table import Table
from gpu_timing_assets.engine_loop.collectives import LOGITS_GATHER_MEDIAN
from gpu_timing_assets.engine_loop.kernels import KernelTimes


@dataclass(frozen=True)
class Bundle:
    """What was measured of one target: its metadata, the profiled engine's settings, its tables."""

    root: Path
    meta: BundleMeta
    params: EngineParams
    frames: Frames

    def kernel_times(self) -> KernelTimes:
        return kernel_times(self.frames, self.params.model_dimensions.num_hidden_layers)

    def check_reach(self, lengths: pd.DataFrame, max_extrapolation: float) -> bool:
        """Whether requests (`trace_lengths`) go beyond the bundle's grid, which `max_extrapolation`
        > 1 allows.

        Raises `SimulationError` naming the row of a request that is too long for the profiled
        engine or for the allowed reach.
        """
        tokens = lengths["num_prefill_tokens"] + lengths["num_decode_tokens"]

        def check(limit: int, what: str, remedy: str) -> None:
            check_context(lengths, limit, "the workload", remedy, what=what, error=SimulationError)

        own = self.params.model_dimensions.max_position_embeddings
        remedy = "filter the workload, or take a model of a longer context"
        if self.params.max_model_len < own:
            raised = f"raise backend.max_model_len (up to {own}) and profile again"
            remedy = f"filter the workload or {raised}"
        check(self.params.max_model_len, "the engine's context", remedy)
        reach = int(self.meta.max_context_tokens * max_extrapolation)
        remedy = (
            "profile with longer profiling.decode_context_tokens, or allow it with "
            "simulator.max_extrapolation"
        )
        check(reach, "the context that the bundle covers", remedy)
        # a request beyond the KV cache would wait for ever; vLLM keeps one block to itself
        kv_cache_tokens = (self.params.num_kv_blocks - 1) * self.params.kv_block_size
        remedy = "filter the workload, or give the engine more memory and profile again"
        check(kv_cache_tokens, "the KV cache of the profiled engine", remedy)
        return bool((tokens > self.meta.max_context_tokens).any())


def read_bundle(root: Path, config: ExperimentConfig) -> Bundle:
    """The bundle in `root`, which must be a whole one of the configured target.

    Checks that all files are there and as they were filed, that the bundle is of this model
    (dimensions too), hardware and tensor-parallel degree, that the engine that was profiled has the
    configured limits, that no table has missing columns, empty, zero or duplicated rows, and that
    its files agree.

    Raises `ProfilingBundleError` naming the file, what is wrong and the command that makes a good
    one; `PresetError` for a model that is not supported.
    """
    read_model_dimensions(config.model)  # refused before a bundle is asked for
    model, hardware = config.model.name, config.hardware.name
    devices = config.backend.tensor_parallel_size
    shared = f" backend.tensor_parallel_size={devices}" if devices > 1 else ""
    remedy = f"make it with `vidur-profile model={model} hardware={hardware}{shared}`"
    if not (root / BUNDLE_META_FILE).is_file():
        recover_replaced(root.parent)
    if not (root / BUNDLE_META_FILE).is_file():
        raise ProfilingBundleError(
            f"there is no profiling bundle in {root} ({BUNDLE_META_FILE} is missing): {remedy}"
        )
    try:
        verify_directory(root)
        meta = read_metadata(root / BUNDLE_META_FILE, BundleMeta)
        params = read_metadata(root / ENGINE_FILE, EngineParams)
        _check_target(root, meta, params, config)
        if meta.refusal:
            raise ArtifactError(f"{root / BUNDLE_META_FILE}: {meta.refusal}")
        frames = read_measurements(root, config)
        check_agreement(root, meta, params, frames)
        return Bundle(root, meta, params, frames)
    except ArtifactError as error:
        raise ProfilingBundleError(f"{error}: {remedy}") from None


def read_measurements(root: Path, config: ExperimentConfig) -> Frames:
    """A bundle's tables; raises `ArtifactError` for one that is missing or malformed."""
    frames: dict[Table, pd.DataFrame] = {}
    target = config.hardware.name, config.model.name, config.backend.tensor_parallel_size
    for table, directory in bundle_tables(root, *target).items():
        if table is BURST_TOKENS:
            _check_observed(frames[BURST_STEPS], directory)
            if not table.is_in(directory):
                continue  # measured before bursts were held out: it was tested on none
        frames[table] = table.read(directory)
        if table is BURST_REQUESTS and "front_end_ns" not in frames[table]:
            frames[table]["front_end_ns"] = 0
        check_measurements(table, directory, frames[table])
    if ALL_REDUCE in frames and LOGITS_GATHER_MEDIAN not in frames[HEAD].columns:
        file = HEAD.find(root)
        raise ArtifactError(f"{file}: column {LOGITS_GATHER_MEDIAN!r} is missing")
    return frames


def _check_observed(steps: pd.DataFrame, directory: Path) -> None:
    """Raises `ArtifactError` for a bundle of a release that inferred when its steps ran."""
    if missing := [name for name in OBSERVED if name not in steps.columns]:
        raise ArtifactError(
            f"{BURST_STEPS.find(directory)}: column {missing[0]!r} is missing: the steps of this "
            "bundle were not observed, as they are since this release, and the time model is "
            "fitted on nothing else"
        )


def kernel_times(frames: Frames, num_layers: int) -> KernelTimes:
    mlp, attention, head = (frames[table] for table in (MLP, ATTENTION, HEAD))
    return KernelTimes(mlp, attention, head, num_layers, frames.get(ALL_REDUCE))


def validate_profiling_root(path: Path, config: ExperimentConfig) -> BundleMeta:
    """The metadata of the bundle in `path`; raises as `read_bundle` does."""
    return read_bundle(path, config).meta


def _check_target(
    root: Path, meta: BundleMeta, params: EngineParams, config: ExperimentConfig
) -> None:
    """Raises `ArtifactError` for a bundle of another target or engine."""
    dtypes = possible_dtypes(config.model, config.hardware)
    found = {
        **params.other,
        **params.model_dump(),
        "model": meta.model,
        "hardware": meta.hardware,
        "tensor_parallel_size": meta.tensor_parallel_size,
    }
    wanted = {
        "model": config.model.name,
        "hardware": config.hardware.name,
        "dtype": params.dtype if params.dtype in dtypes else dtypes[0],
        **config.backend.profiled_settings(),
    }
    for name, value in wanted.items():
        if found.get(name, value) != value:
            raise ArtifactError(
                f"{root} was profiled with {name} {found[name]}, this experiment has {value} "
                "(another profiling root may be named)"
            )
    if meta.model_dimensions != read_model_dimensions(config.model):
        raise ArtifactError(
            f"{root} was profiled with another {meta.model} than the card in "
            f"{card_directory(config.model)}"
        )

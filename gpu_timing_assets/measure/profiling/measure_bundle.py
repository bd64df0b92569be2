"""The stage `vidur-profile`: reuses a valid bundle or measures what is missing, and files it."""

import shutil
from pathlib import Path

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.config.model_card import check_model
from gpu_timing_assets.core.bundle import ENGINE_FILE, BundleMeta
from gpu_timing_assets.core.directories import atomic_directory
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.errors import ArtifactError, PresetError, ProfilingBundleError
from gpu_timing_assets.core.files import read_metadata
from gpu_timing_assets.core.locks import exclusive_lock, lock_of
from gpu_timing_assets.core.provenance import utc_now
from gpu_timing_assets.doctor.examination import preflight
from gpu_timing_assets.engine_loop.bundle import validate_profiling_root
from gpu_timing_assets.engines.base import (
    InstalledEngine,
    engine_plugin,
    engines_that_can_be_profiled,
)
from gpu_timing_assets.engines.child_process import (
    Launcher,
    run_engine_process,
    subprocess_launcher,
)
from gpu_timing_assets.engines.memory import memory_needed_bytes
from gpu_timing_assets.engines.session import SESSION_FILE
from gpu_timing_assets.measure.profiling.file_bundle import write_bundle
from gpu_timing_assets.measure.profiling.parts import kernel_parts, parts_dir


def run(
    config: ExperimentConfig,
    out: Path,
    *,
    launch: Launcher = subprocess_launcher,
    force: bool = False,
) -> BundleMeta:
    """Measure the target's bundle into `out`, or return the one that is there if it is valid and of
    this configuration.

    An interrupted profile goes on with the parts that it had measured. `force` measures everything
    again.

    Raises `PresetError` for an engine that cannot be profiled or a model that is not supported,
    `DeviceError`, `BusyError`, `DiskFullError`, `EngineError`, `ProfilingBundleError`.
    """
    _check_engine(config)
    check_model(config.model, config.backend)
    if not force and (found := reusable_bundle(config, out)):
        return found
    preflight(config)
    started_at = utc_now()
    parts = parts_dir(out, config.bundle_config_sha256, installed_engine(config).version)
    with exclusive_lock(lock_of(out.with_name(f"parts-of-{out.name}")), str(out)):
        if force:
            shutil.rmtree(parts, ignore_errors=True)
        parts.mkdir(parents=True, exist_ok=True)
        if not (parts / SESSION_FILE).is_file():
            _measure("burst_process", config, parts, launch)
        wanted = kernel_parts(config.backend.tensor_parallel_size)
        if not all(part.is_in(parts) for part in wanted):
            _measure("kernel_process", config, parts, launch)
        try:
            with atomic_directory(out) as scratch:
                meta = write_bundle(config, parts, scratch, started_at)
        except (ArtifactError, ProfilingBundleError):
            # these measurements make no bundle, and would make none the next time either
            shutil.rmtree(parts)
            raise
        shutil.rmtree(parts)
    return meta


def _check_engine(config: ExperimentConfig) -> None:
    name = config.backend.name
    if engine_plugin(name).operators is None:
        others = ", ".join(engines_that_can_be_profiled())
        raise PresetError(f"backend {name!r} cannot be profiled: use backend={others}")
    if config.backend.tensor_parallel_size > 1 and engine_plugin(name).collectives is None:
        fault = f"backend {name!r} cannot be profiled on several GPUs: set"
        raise PresetError(f"{fault} backend.tensor_parallel_size=1")
    if not config.backend.record_steps:
        fault = "profiling reads the engine's recorded steps: set backend.record_steps=true"
        raise PresetError(fault)


def _measure(process: str, config: ExperimentConfig, parts: Path, launch: Launcher) -> None:
    run_engine_process(
        f"gpu_timing_assets.measure.profiling.{process}",
        {"config": config.model_dump(mode="json")},
        parts,
        config.backend.python,
        launch,
        memory_needed_bytes(config.model, config.hardware),
    )


def reusable_bundle(config: ExperimentConfig, out: Path) -> BundleMeta | None:
    """The bundle in `out` if it is valid, of this configuration, and, so far as known, engine."""
    try:
        meta = validate_profiling_root(out, config)
    except ProfilingBundleError:
        return None
    library = read_metadata(out / ENGINE_FILE, EngineParams).native_library
    profiled = InstalledEngine(meta.engine_version.split("+")[0], library)
    here = installed_engine(config)
    same_engine = (
        here.version in (None, profiled.version)
        and here.native_library in (None, profiled.native_library)
        and meta.bundle_config_sha256 == config.bundle_config_sha256
    )
    return meta if same_engine else None


def installed_engine(config: ExperimentConfig) -> InstalledEngine:
    installed = engine_plugin(config.backend.name).installed
    return installed(config) if installed else InstalledEngine()

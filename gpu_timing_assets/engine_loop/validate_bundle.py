"""The one check that every reader of a profiling bundle makes of it."""

from pathlib import Path

from gpu_timing_assets.config.dtype import possible_dtypes
from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.config.model_card import read_model_dimensions
from gpu_timing_assets.core.bundle import BUNDLE_META_FILE, ENGINE_FILE, BundleMeta, bundle_tables
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.errors import ArtifactError, ProfilingBundleError
from gpu_timing_assets.core.files import read_metadata
from gpu_timing_assets.core.tables.invariants import check_measurements


def validate_profiling_root(path: Path, config: ExperimentConfig) -> BundleMeta:
    """Whether `path` holds a whole bundle of the configured target; every reader calls this before
    it reads.

    Checks that all files are there, that the bundle is of this model (dimensions too), hardware and
    tensor-parallel degree, that the engine that was profiled has the configured limits, and that no
    table has missing columns, empty, zero or duplicated rows.

    Raises `ProfilingBundleError` naming the file, what is wrong and the command that makes a good
    one.
    """
    remedy = (
        f"make it with `vidur-profile model={config.model.name} hardware={config.hardware.name}`"
    )
    if not (path / BUNDLE_META_FILE).is_file():
        raise ProfilingBundleError(
            f"there is no profiling bundle in {path} ({BUNDLE_META_FILE} is missing): {remedy}"
        )
    try:
        meta = read_metadata(path / BUNDLE_META_FILE, BundleMeta)
        params = read_metadata(path / ENGINE_FILE, EngineParams)
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
                raise ProfilingBundleError(
                    f"{path} was profiled with {name} {found[name]}, this experiment has {value}: "
                    f"{remedy}, or name another profiling root"
                )
        if meta.model_dimensions != read_model_dimensions(config.model):
            raise ProfilingBundleError(
                f"{path} was profiled with another {meta.model} than the card in "
                f"{config.model.card_dir}: {remedy}"
            )
        for table, directory in bundle_tables(
            path, config.hardware.name, config.model.name
        ).items():
            check_measurements(table, directory, table.read(directory))
    except ArtifactError as error:
        raise ProfilingBundleError(f"{error}: {remedy}") from None
    return meta

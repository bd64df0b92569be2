"""Which runs below a data root belong together: read from their metadata alone."""

from collections.abc import Iterator
from pathlib import Path

from gpu_timing_assets.core.data_root import DataRoot
from gpu_timing_assets.core.directories import LOCK_PREFIX, SCRATCH_PREFIX
from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.metadata import (
    WORKLOAD_META_FILE,
    RunMeta,
    WorkloadMeta,
    config_sha256,
    read_complete_run,
    read_metadata,
)


def finished_runs(parent: Path, *, allow_invalid: bool = False) -> Iterator[tuple[Path, RunMeta]]:
    """Every finished run directly below `parent`, by name; what is unfinished or unreadable is not
    a run."""
    for directory in sorted(parent.glob("*")) if parent.is_dir() else ():
        if directory.name.startswith((SCRATCH_PREFIX, LOCK_PREFIX)) or not directory.is_dir():
            continue
        try:
            yield directory, read_complete_run(directory, allow_invalid=allow_invalid)
        except ArtifactError:
            continue


def current_workload_sha256(data: DataRoot, workload_id: str) -> str:
    """Raises `ArtifactError` if the workload is not there."""
    return read_metadata(
        data.workload_dir(workload_id) / WORKLOAD_META_FILE, WorkloadMeta
    ).workload_sha256


def find_real_runs(
    data: DataRoot, workload_id: str, model: str, hardware: str, backend: str
) -> tuple[Path, ...]:
    """All complete real runs of the workload as it is now, on that target, by name.

    Another workload's are not its repeats, even if their requests are the same. Where they were
    made under several engine configurations, those of the newest one: runs under different settings
    are not repeats of each other."""
    current = current_workload_sha256(data, workload_id)
    found = [
        (directory, meta)
        for directory, meta in finished_runs(data.path / "real_runs")
        if meta.run_type == "real"
        and meta.workload_sha256 == current
        and (meta.workload_id, meta.model, meta.hardware, meta.backend)
        == (workload_id, model, hardware, backend)
    ]
    if not found:
        return ()
    newest = max(found, key=lambda pair: (pair[1].started_at, pair[1].run_id))[1]
    settings = _settings_sha256(newest)
    return tuple(directory for directory, meta in found if _settings_sha256(meta) == settings)


def _settings_sha256(meta: RunMeta) -> str:
    """Of all settings but the KV blocks, which differ a little from one engine start to the next:
    the gate judges them.

    A null setting counts as one that was not recorded, as in the gate.
    """
    return config_sha256(
        {
            name: value
            for name, value in meta.params.items()
            if name != "num_kv_blocks" and value is not None
        }
    )


def find_sim_runs(
    data: DataRoot, workload_id: str, model: str, hardware: str, backend: str
) -> tuple[Path, ...]:
    """All complete simulations of the workload as it is now on that target, by name: every
    predictor and variant.

    A simulation's `backend` is `vidur`, so which engine it stands for is read from its `run_id`,
    which begins with the workload and the target."""
    current = current_workload_sha256(data, workload_id)
    prefix = f"{workload_id}--{model}--{hardware}--{backend.replace('_', '-')}--"
    return tuple(
        directory
        for directory, meta in finished_runs(data.path / "vidur_runs")
        if meta.run_type == "vidur"
        and meta.workload_sha256 == current
        and (meta.model, meta.hardware) == (model, hardware)
        and meta.run_id.startswith(prefix)
    )

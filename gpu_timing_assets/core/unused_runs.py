"""The runs that a comparison found and did not take, each with the reason."""

from collections.abc import Collection, Iterator
from pathlib import Path

from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.run import RealRunMeta, SimRunMeta, read_complete_run
from gpu_timing_assets.core.store import Store
from gpu_timing_assets.core.target import Target


def unused_runs(
    store: Store, workload_id: str, target: Target, used: Collection[Path]
) -> tuple[str, ...]:
    """`<name>: <why>` of each run of the workload on the target that is not in `used`, and of each
    that may be one but cannot be read.
    """
    kinds: tuple[tuple[Path, type[RealRunMeta | SimRunMeta]], ...] = (
        (store.data.real_runs, RealRunMeta),
        (store.data.sim_runs, SimRunMeta),
    )
    current, found = store.workload_sha256(workload_id), []
    for parent, kind in kinds:
        for directory in _directories(parent, workload_id):
            if directory in used:
                continue
            try:
                meta = read_complete_run(directory, kind, allow_invalid=True)
            except ArtifactError as error:
                found.append(f"{directory.name}: {error}")
                continue
            if (meta.workload_id, meta.target) == (workload_id, target):
                found.append(f"{directory.name}: {_reason(meta, current)}")
    return tuple(found)


def _directories(parent: Path, workload_id: str) -> Iterator[Path]:
    """Those that may hold a run of the workload: named after it, or after none."""
    for directory in sorted(parent.glob("[!.]*")) if parent.is_dir() else ():
        named, separator, _ = directory.name.partition("--")
        if directory.is_dir() and (named == workload_id or not separator):
            yield directory


def _reason(meta: RealRunMeta | SimRunMeta, current_sha256: str) -> str:
    if isinstance(meta, RealRunMeta) and meta.status == "invalid":
        return f"it is invalid ({'; '.join(meta.invalid_reasons) or 'no reason given'})"
    if meta.workload_sha256 != current_sha256:
        return "the workload was another one then"
    if isinstance(meta, RealRunMeta):
        return "the newest run was under other engine settings"
    return f"there is a newer simulation {meta.label}"

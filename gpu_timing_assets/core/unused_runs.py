"""The runs that a comparison found and did not take, each with the reason."""

from collections.abc import Collection
from pathlib import Path

from gpu_timing_assets.core.run import RealRunMeta, SimRunMeta
from gpu_timing_assets.core.store import Filed, Store
from gpu_timing_assets.core.target import Target


def unused_runs(
    store: Store, workload_id: str, target: Target, used: Collection[Path]
) -> tuple[str, ...]:
    """`<name>: <why>` of each run of the workload on the target that is not in `used`, and of each
    that may be one but cannot be read.
    """
    found = {}
    filed: tuple[Filed[RealRunMeta] | Filed[SimRunMeta], ...] = (*store.real_runs, *store.sim_runs)
    for run in filed:
        if (run.meta.workload_id, run.meta.target) == (workload_id, target):
            found[run.directory] = _reason(run.meta, store.workload_sha256(workload_id))
    for directory, why in store.unreadable.items():
        in_runs = directory.parent in (store.data.real_runs, store.data.sim_runs)
        if in_runs and _may_be_of(workload_id, directory):
            found[directory] = why
    return tuple(f"{path.name}: {why}" for path, why in sorted(found.items()) if path not in used)


def _may_be_of(workload_id: str, directory: Path) -> bool:
    """Whether it is named after the workload, or after none."""
    named, separator, _ = directory.name.partition("--")
    return named == workload_id or not separator


def _reason(meta: RealRunMeta | SimRunMeta, current_sha256: str) -> str:
    if isinstance(meta, RealRunMeta) and meta.status == "invalid":
        return f"it is invalid ({'; '.join(meta.invalid_reasons) or 'no reason given'})"
    if meta.workload_sha256 != current_sha256:
        return "the workload was another one then"
    if isinstance(meta, RealRunMeta):
        return "the newest run was under other engine settings"
    return f"there is a newer simulation {meta.label}"

"""Everything that lies below a data root, found by one scan of it: which runs belong together."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Generic

from gpu_timing_assets.core.data_root import DataRoot
from gpu_timing_assets.core.directories import recover_replaced
from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.run import (
    ComparisonMeta,
    RealRunMeta,
    RunMetaT,
    SimRunMeta,
    read_complete_run,
)
from gpu_timing_assets.core.target import Target
from gpu_timing_assets.core.workload import read_workload_meta


@dataclass(frozen=True)
class Filed(Generic[RunMetaT]):
    """A finished run and where it lies."""

    directory: Path
    meta: RunMetaT


class Store:
    """What is below `data` at the moment when it is first asked for; each folder is read once.

    `unreadable`: of the folders that were asked for, each directory that holds no finished run, and
    why not.
    """

    def __init__(self, data: DataRoot) -> None:
        self.data = data
        self._workload_sha256: dict[str, str] = {}
        self.unreadable: dict[Path, str] = {}

    @cached_property
    def real_runs(self) -> tuple[Filed[RealRunMeta], ...]:
        """By name, those that judged themselves invalid too."""
        return tuple(self._finished(self.data.real_runs, RealRunMeta))

    @cached_property
    def sim_runs(self) -> tuple[Filed[SimRunMeta], ...]:
        return tuple(self._finished(self.data.sim_runs, SimRunMeta))

    @cached_property
    def comparisons(self) -> tuple[Filed[ComparisonMeta], ...]:
        return tuple(self._finished(self.data.comparisons, ComparisonMeta))

    def workload_sha256(self, workload_id: str) -> str:
        """Of the workload as it is now. Raises `ArtifactError` if it is not there."""
        if workload_id not in self._workload_sha256:
            meta = read_workload_meta(self.data.workload_dir(workload_id))
            self._workload_sha256[workload_id] = meta.workload_sha256
        return self._workload_sha256[workload_id]

    def invalid_real_runs(self, workload_id: str, target: Target) -> tuple[Path, ...]:
        return tuple(
            run.directory
            for run in self.real_runs
            if run.meta.status == "invalid"
            and (run.meta.workload_id, run.meta.target) == (workload_id, target)
        )

    def real_runs_of(self, workload_id: str, target: Target) -> tuple[Path, ...]:
        """All complete real runs of the workload as it is now, on that target, by name.

        Another workload's are not its repeats, even if their requests are the same. Where they were
        made under several engine configurations, those of the newest one: runs under different
        settings are not repeats of each other.
        """
        current = self.workload_sha256(workload_id)
        found = [
            run
            for run in self.real_runs
            if run.meta.status == "complete"
            and (run.meta.workload_id, run.meta.workload_sha256, run.meta.target)
            == (workload_id, current, target)
        ]
        if not found:
            return ()
        newest = max(found, key=lambda run: (run.meta.started_at, run.meta.run_id)).meta
        return tuple(
            run.directory for run in found if run.meta.params.has_settings_of(newest.params)
        )

    def sim_runs_of(self, workload_id: str, target: Target) -> tuple[Path, ...]:
        """The complete simulations of the workload as it is now, on that target, by name.

        Of each that reports call by a name of its own (predictor, substitution, host's speed) the
        newest.
        """
        current = self.workload_sha256(workload_id)
        newest: dict[tuple[str, str], Filed[SimRunMeta]] = {}
        for run in sorted(self.sim_runs, key=lambda run: (run.meta.started_at, run.meta.run_id)):
            meta = run.meta
            if (meta.workload_id, meta.workload_sha256) == (workload_id, current) and (
                meta.target == target
            ):
                newest[meta.simulator, meta.label] = run
        return tuple(sorted(run.directory for run in newest.values()))

    def _finished(self, parent: Path, kind: type[RunMetaT]) -> Iterator[Filed[RunMetaT]]:
        """Every finished run directly below `parent`; what is none is in `unreadable`."""
        recover_replaced(parent)
        for directory in sorted(parent.glob("[!.]*")):
            if not directory.is_dir():
                continue
            try:
                meta = read_complete_run(directory, kind, allow_invalid=kind is RealRunMeta)
            except ArtifactError as error:
                self.unreadable[directory] = str(error)
                continue
            yield Filed(directory, meta)

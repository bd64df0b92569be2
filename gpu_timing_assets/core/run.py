"""What a run was, what it read and under which settings: `run_meta.json`, a model for each kind."""

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, field_validator

from gpu_timing_assets.core.directories import recover_replaced
from gpu_timing_assets.core.engine_params import EngineParams, NonEmpty
from gpu_timing_assets.core.errors import ArtifactError, UnfinishedArtifactError
from gpu_timing_assets.core.files import CONFIG_FILE, Metadata, read_json, read_metadata
from gpu_timing_assets.core.host_probe import HostProbe
from gpu_timing_assets.core.manifest import verify_file
from gpu_timing_assets.core.names import Name, PathPart, WorkloadId
from gpu_timing_assets.core.target import Target
from gpu_timing_assets.core.upgrade import check_schema_version, upgrade_run_meta

RUN_META_FILE = "run_meta.json"
# `given` to a comparison by a simulator: what its run tables hold
TOKEN_TIMES = "token_times"


class RunMeta(Metadata):
    """What every kind of run has. `backend` is the engine's preset, on the simulated side too."""

    schema_version: Literal[2] = 2
    run_type: str
    run_id: Name
    status: Literal["complete", "invalid", "failed"] = "complete"
    model: Name
    hardware: Name
    backend: Name
    started_at: str
    ended_at: str
    git_commit: str | None = None
    git_dirty: bool | None = None
    env: dict[str, Any] = Field(default_factory=dict)
    config: str = CONFIG_FILE

    @property
    def target(self) -> Target:
        return Target(self.model, self.hardware, self.backend)


class Percentiles(Metadata):
    """In the unit that the field's name says."""

    p50: float
    p90: float
    p99: float


class Lateness(Percentiles):
    max: float


class WorkloadRunMeta(RunMeta):
    """A run of a workload, real or simulated. `params`: every resolved setting of the engine."""

    workload_id: WorkloadId
    workload_sha256: NonEmpty
    workload_dir: str | None = None
    params: EngineParams


class RunStatistics(Metadata):
    """What a real run's metadata say about it at a glance: of the requests that were served."""

    ttft_ms: Percentiles
    itl_ms: Percentiles
    e2e_ms: Percentiles
    submission_lateness_ms: Lateness
    num_requests: int
    num_failed: int
    num_tokens: int
    tokens_per_s: float


class RealRunMeta(WorkloadRunMeta, RunStatistics):
    """One replay of a workload on a real engine: repeat number `repeat` of one engine start.

    `probe_before`, `probe_after`: the host's speed right beside it.
    """

    run_type: Literal["real"] = "real"
    session: Name
    repeat: int
    repeats: int
    invalid_reasons: tuple[str, ...] = ()
    early_stopping: bool
    warmup_requests: int
    engine_start_s: float
    replay_s: float
    client_cpu_share: float
    times_rounded_to_ns: int | None = None
    probe_before: HostProbe | None = None
    probe_after: HostProbe | None = None


class SimRunMeta(WorkloadRunMeta):
    """One simulation of a workload by the plug-in `simulator`.

    `predictor` names its time model, where it has several. `substitution`: what was put in from a
    real run in place of a layer of the simulation (`real_run_dir`), to attribute an error.
    `gives`: what its tables hold beyond the times of the first and last token.
    `simulated_settings`: the fields of `params` that it takes account of, null for all of them; a
    difference in another one is listed and refuses nothing. `host_ratio`: by how much the host's
    times were corrected for its speed in the real runs; null: it is as fast as in the profile.
    `self_test_error_pct`, `prediction_spread_pct`: by statistic (`ITL p50`), the errors of the
    bundle's self-test and how far bundles of the same target lie apart (`core.bundle`), where the
    simulation rests on the time model that was tested; no errors of a bundle that was not.
    """

    run_type: Literal["simulated"] = "simulated"
    simulator: str
    predictor: str | None = None
    substitution: str | None = None
    gives: tuple[str, ...] = (TOKEN_TIMES,)
    simulated_settings: tuple[str, ...] | None = Field(default=None, min_length=1)
    profiling_root: str | None = None
    real_run_dir: str | None = None
    seed: int | None = None
    host_ratio: float | None = None
    extrapolated: bool = False
    wall_s: float
    event_loop_s: float | None = None
    num_steps: int | None = None
    num_tokens: int
    simulated_s: float
    bundle_config_sha256: str | None = None
    bundle_measured_at: str | None = None
    bundle_failed_checks: tuple[str, ...] = ()
    self_test_error_pct: dict[str, float] | None = None
    prediction_spread_pct: dict[str, float] | None = None

    @field_validator("simulated_settings")
    @classmethod
    def _are_settings(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if unknown := set(names or ()) - EngineParams.model_fields.keys():
            raise ValueError(f"{min(unknown)!r} is no setting of an engine")
        return names

    @property
    def label(self) -> str:
        """How a report calls it: `engine_loop`, `engine_loop + recorded batches`."""
        substituted = f" + {self.substitution.replace('_', ' ')}" if self.substitution else ""
        return f"{self.plain_label}{substituted}"

    @property
    def plain_label(self) -> str:
        """The label of the simulation that has nothing substituted."""
        corrected = " at the runs' host speed" if self.host_ratio is not None else ""
        return f"{self.model_name}{corrected}"

    @property
    def model_name(self) -> str:
        """Its time model's name, or the simulator's that has one."""
        return self.predictor or self.simulator


class ProfileRunMeta(RunMeta):
    """How a profiling bundle came about; what it holds is in `bundle_meta.json`."""

    run_type: Literal["profile"] = "profile"
    params: EngineParams
    duration_s: dict[str, float]


class ComparedInput(Metadata):
    """A run that was compared, so that a later look can tell whether it changed since."""

    name: PathPart
    path: str
    run_meta_sha256: str


class Completeness(Metadata):
    """How much of a run was compared; tokens are output tokens."""

    run_id: str
    side: Literal["real", "simulated"]
    label: str
    requests: int
    failed_requests: int
    compared_requests: int
    planned_tokens: int
    made_tokens: int
    compared_tokens: int


class ComparisonMeta(RunMeta):
    """What was compared, and what a report says above its figures.

    `unused_runs`: what else was found of this work and target, and why it was not compared.
    `overridden` would have refused the comparison, `listed_mismatches` differ but do not matter.
    `host_time_ratio`: by real run, how much slower the host was than when it was profiled.
    """

    run_type: Literal["comparison"] = "comparison"
    workload_id: WorkloadId
    workload_sha256: str
    workload_dir: str | None = None
    primary_simulation: str
    simulations: tuple[str, ...]
    real_run_ids: tuple[str, ...]
    inputs: tuple[ComparedInput, ...]
    unused_runs: tuple[str, ...] = ()
    overridden: tuple[str, ...]
    listed_mismatches: tuple[str, ...]
    notes: tuple[str, ...]
    completeness: tuple[Completeness, ...]
    mean_running_requests: float
    host_time_ratio: dict[str, float]
    confidence_pct: float


RunMetaT = TypeVar("RunMetaT", bound=RunMeta)


def read_complete_run(
    directory: Path, kind: type[RunMetaT], *, allow_invalid: bool = False
) -> RunMetaT:
    """The metadata of a finished run of this kind.

    Raises `UnfinishedArtifactError` for a directory that is missing, half written or did not end
    well: a status of `invalid` (late submissions, errors) passes only with `allow_invalid`.
    Raises `ArtifactError` for a run of another kind, or metadata that are not as they were filed.
    """
    path = directory / RUN_META_FILE
    if not path.is_file():
        recover_replaced(directory.parent)
    if not path.is_file():
        raise UnfinishedArtifactError(
            f"{directory} has no {RUN_META_FILE}: the run is not there or did not finish; run its "
            "stage again"
        )
    expected = kind.model_fields["run_type"].default
    if (found := run_type_of(directory)) != expected:
        raise ArtifactError(f"{directory} is a {found!r} run, expected a {expected!r} one")
    verify_file(directory, RUN_META_FILE)
    meta = read_metadata(path, kind, upgrade_run_meta)
    if meta.status != "complete" and not (allow_invalid and meta.status == "invalid"):
        reasons = meta.invalid_reasons if isinstance(meta, RealRunMeta) else ()
        why = "; ".join(reasons) or "see its summary.md"
        raise UnfinishedArtifactError(
            f"{directory} has status {meta.status!r} ({why}): run its stage again"
        )
    return meta


def run_type_of(directory: Path) -> str:
    """`real`, `simulated`, `profile` or `comparison`. Raises `ArtifactError` without metadata
    of a schema version that is read."""
    path = directory / RUN_META_FILE
    data = read_json(path)
    if not isinstance(data, dict):
        return "unknown"
    check_schema_version(path, data, RunMeta.model_fields["schema_version"].default)
    return str(upgrade_run_meta(data).get("run_type"))

"""The metadata files and the configuration snapshot of every directory: what they hold, and how
they are read."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gpu_timing_assets.core.errors import ArtifactError, UnfinishedArtifactError

SCHEMA_VERSION = 1
RUN_META_FILE = "run_meta.json"
WORKLOAD_META_FILE = "workload_meta.json"
BUNDLE_META_FILE = "bundle_meta.json"
CONFIG_FILE = "config.json"


class Metadata(BaseModel):
    """Base of the metadata files: frozen, unknown keys forbidden."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RunMeta(Metadata):
    """What a run was, what it read and under which settings (`run_meta.json`).

    `params` holds every resolved engine or scheduler knob under the same names on the real and on
    the simulated side (see `gpu_timing_assets.core.parity`), so that a comparison can hold them
    against each other."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    run_type: Literal["real", "vidur", "vidur_profile", "compare"]
    status: Literal["complete", "invalid", "failed"] = "complete"
    model: str
    hardware: str
    backend: str
    workload_id: str | None = None
    workload_sha256: str | None = None
    started_at: str
    ended_at: str
    git_commit: str | None = None
    git_dirty: bool | None = None
    env: dict[str, Any] = Field(default_factory=dict)
    params: dict[str, Any] = Field(default_factory=dict)
    config: str = CONFIG_FILE
    workload_dir: str | None = None
    profiling_root: str | None = None
    real_run_dir: str | None = None
    sim_run_dir: str | None = None
    # a real run: which repeat of one engine start, how late its submissions were, what made it
    # invalid a simulation: predictor, variant, extrapolated or not, speed
    details: dict[str, Any] = Field(default_factory=dict)


class WorkloadMeta(Metadata):
    """What a workload was made from (`workload_meta.json`).

    `workload_sha256` is over the bytes of both trace files and the tokenizer's hash: see
    `workload_sha256()`."""

    schema_version: int = SCHEMA_VERSION
    workload_id: str
    workload_sha256: str
    num_requests: int
    num_prefill_tokens: int
    num_decode_tokens: int
    duration_ns: int
    seed: int
    tokenizer: dict[str, Any]
    source: dict[str, Any]
    config_sha256: str
    config: str = CONFIG_FILE
    details: dict[str, Any] = Field(default_factory=dict)


def workload_sha256(trace_lengths: bytes, trace_intervals: bytes, tokenizer_sha256: str) -> str:
    """The identity of a workload: both trace files' bytes and the tokenizer's hash, in that
    order."""
    digest = hashlib.sha256()
    for part in (trace_lengths, trace_intervals, tokenizer_sha256.encode()):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def config_sha256(config: BaseModel | dict[str, Any]) -> str:
    """SHA-256 of a configuration's canonical JSON."""
    data = config.model_dump(mode="json") if isinstance(config, BaseModel) else config
    return hashlib.sha256(
        json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()


def write_json(path: Path, value: BaseModel | dict[str, Any] | list[Any]) -> None:
    data = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    path.write_text(
        json.dumps(data, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8"
    )


def read_json(path: Path) -> Any:
    """Raises `ArtifactError` naming the file if it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing") from None
    except ValueError as error:
        raise ArtifactError(f"{path} is not JSON: {error}") from None


MetadataT = TypeVar("MetadataT", bound=Metadata)


def read_metadata(path: Path, model: type[MetadataT]) -> MetadataT:
    """Raises `ArtifactError` naming the file and the first wrong field."""
    try:
        return model.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise ArtifactError(f"{path}: {field}: {first['msg']}") from None


def read_complete_run(directory: Path, *, allow_invalid: bool = False) -> RunMeta:
    """The metadata of a finished run.

    Raises `UnfinishedArtifactError` for a directory that is missing, half written or did not end
    well: a status of `invalid` (late submissions, errors) passes only with `allow_invalid`."""
    if not (directory / RUN_META_FILE).is_file():
        raise UnfinishedArtifactError(
            f"{directory} has no {RUN_META_FILE}: the run is not there or did not finish; run its "
            f"stage again"
        )
    meta = read_metadata(directory / RUN_META_FILE, RunMeta)
    accepted = ("complete", "invalid") if allow_invalid else ("complete",)
    if meta.status not in accepted:
        reason = (
            "; ".join(str(r) for r in meta.details.get("invalid_reasons", []))
            or "see its summary.md"
        )
        raise UnfinishedArtifactError(
            f"{directory} has status {meta.status!r} ({reason}): run its stage again"
        )
    return meta


def read_complete_workload(directory: Path) -> WorkloadMeta:
    """Raises `UnfinishedArtifactError` if the workload is missing, `ArtifactError` if its files
    were changed since."""
    if not (directory / WORKLOAD_META_FILE).is_file():
        raise UnfinishedArtifactError(
            f"{directory} has no {WORKLOAD_META_FILE}: generate it with `workload-spec "
            f"workload={directory.name}`"
        )
    meta = read_metadata(directory / WORKLOAD_META_FILE, WorkloadMeta)
    found = workload_sha256(
        (directory / "trace_lengths.csv").read_bytes(),
        (directory / "trace_intervals.csv").read_bytes(),
        str(meta.tokenizer.get("sha256", "")),
    )
    if found != meta.workload_sha256:
        raise ArtifactError(
            f"{directory}: the trace files are not those that {WORKLOAD_META_FILE} describes "
            f"(sha256 {found[:12]}, expected {meta.workload_sha256[:12]}): generate the workload "
            f"again"
        )
    return meta

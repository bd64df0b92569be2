"""A workload on disk: what it was made from, and that its files are still those."""

import hashlib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from gpu_timing_assets.core.errors import ArtifactError, UnfinishedArtifactError
from gpu_timing_assets.core.files import CONFIG_FILE, Metadata, read_metadata
from gpu_timing_assets.core.manifest import verify_file
from gpu_timing_assets.core.names import WorkloadId
from gpu_timing_assets.core.upgrade import upgrade_workload_meta

WORKLOAD_META_FILE = "workload_meta.json"


class TokenizerMeta(Metadata):
    """`special_token_ids` are those inside the base vocabulary, sorted."""

    name: str
    sha256: str
    base_vocab_size: int
    special_token_ids: tuple[int, ...] = ()


class ClosedLoopMeta(Metadata):
    users: int
    mean_think_time_ns: int


class WorkloadMeta(Metadata):
    """What a workload was made from (`workload_meta.json`).

    `workload_sha256` is over the bytes of both trace files and the tokenizer's hash. `made_from`
    holds the preset without its defaults and the hashes of the files that it names; `config_sha256`
    is its hash. `files_sha256`: the other files, by name.
    """

    schema_version: Literal[2] = 2
    workload_id: WorkloadId
    workload_sha256: str
    num_requests: int
    num_prefill_tokens: int
    num_decode_tokens: int
    longest_request_tokens: int
    duration_ns: int
    mean_rate_per_s: float | None
    seed: int
    tokenizer: TokenizerMeta
    source: dict[str, Any]
    closed_loop: ClosedLoopMeta | None = None
    made_from: dict[str, Any] = Field(default_factory=dict)
    files_sha256: dict[str, str] = Field(default_factory=dict)
    config_sha256: str
    config: str = CONFIG_FILE


def said_of_source(meta: WorkloadMeta) -> list[str]:
    """What of the source is not in the workload, and how it was read: a sentence each."""
    source, said = meta.source, []
    if left_out := source.get("left_out"):
        reasons = ", ".join(
            f"{left['count']:,} {reason.replace('_', ' ')}" for reason, left in left_out.items()
        )
        total = sum(left["count"] for left in left_out.values())
        said.append(f"left out {total:,} of {source['rows_read']:,} rows: {reasons}")
    if outside := source.get("prompts_outside_bounds"):
        said.append(f"left out {outside:,} of {source['prompts_in_file']:,} prompts: out of bounds")
    return [*said, *source.get("notes", ())]


def workload_sha256(trace_lengths: bytes, trace_intervals: bytes, tokenizer_sha256: str) -> str:
    """The identity of a workload: both trace files' bytes and the tokenizer's hash, in order."""
    digest = hashlib.sha256()
    for part in (trace_lengths, trace_intervals, tokenizer_sha256.encode()):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def read_workload_meta(directory: Path) -> WorkloadMeta:
    """Without a look at the files. Raises `UnfinishedArtifactError`, `ArtifactError`."""
    path = directory / WORKLOAD_META_FILE
    if not path.is_file():
        raise UnfinishedArtifactError(
            f"{directory} has no {WORKLOAD_META_FILE}: generate it with "
            f"`workload-spec workload={directory.name}`"
        )
    verify_file(directory, WORKLOAD_META_FILE)
    return read_metadata(path, WorkloadMeta, upgrade_workload_meta)


def read_complete_workload(directory: Path) -> WorkloadMeta:
    """Raises `UnfinishedArtifactError` if it is missing, `ArtifactError` if it was changed."""
    meta = read_workload_meta(directory)
    files = (directory / "trace_lengths.csv", directory / "trace_intervals.csv")
    try:
        lengths, intervals = (path.read_bytes() for path in files)
    except OSError as error:
        raise ArtifactError(f"{error.filename}: {error.strerror}: generate it again") from None
    found = workload_sha256(lengths, intervals, meta.tokenizer.sha256)
    if found != meta.workload_sha256:
        raise ArtifactError(
            f"{directory}: the trace files are not those that {WORKLOAD_META_FILE} describes "
            f"(sha256 {found[:12]}, expected {meta.workload_sha256[:12]}): generate the workload "
            "again"
        )
    _check_totals(directory, meta)
    return meta


def _check_totals(directory: Path, meta: WorkloadMeta) -> None:
    """They are no part of the hash, and are shown."""
    # what is loaded with the graph's definitions does without pandas
    from gpu_timing_assets.core.tables.schemas import TRACE_INTERVALS, TRACE_LENGTHS

    lengths = TRACE_LENGTHS.read(directory)
    prefill, decode = lengths["num_prefill_tokens"], lengths["num_decode_tokens"]
    totals = {
        "num_requests": len(lengths),
        "num_prefill_tokens": int(prefill.sum()),
        "num_decode_tokens": int(decode.sum()),
        "longest_request_tokens": int((prefill + decode).max()) if len(lengths) else 0,
        "duration_ns": int(TRACE_INTERVALS.read(directory)["arrival_time_ns"].max()),
    }
    for name, total in totals.items():
        if (said := getattr(meta, name)) != total:
            raise ArtifactError(
                f"{directory / WORKLOAD_META_FILE}: {name} is {said}, the trace files say {total}: "
                "generate the workload again"
            )

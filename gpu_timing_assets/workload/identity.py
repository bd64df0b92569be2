"""What a workload is made from, and how that differs from what a directory's was made from."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_timing_assets.core.errors import ArtifactError, WorkloadError
from gpu_timing_assets.core.files import config_sha256, file_sha256
from gpu_timing_assets.core.tables.invariants import check_context
from gpu_timing_assets.core.tables.schemas import TRACE_LENGTHS
from gpu_timing_assets.core.workload import (
    WORKLOAD_META_FILE,
    TokenizerMeta,
    WorkloadMeta,
    read_complete_workload,
)
from gpu_timing_assets.workload.draw_context import DrawContext

# raised when the same preset would give other bytes: old directories are then told apart instead of
# mixed with new ones
GENERATOR_VERSION = 1


@dataclass(frozen=True)
class WorkloadIdentity:
    """`made_from`: the preset without its defaults (a field added later changes no identity), the
    hashes of the files it names, the tokenizer's hash and the generator's version.
    """

    workload_id: str
    tokenizer: TokenizerMeta
    made_from: dict[str, Any]

    @property
    def sha256(self) -> str:
        return config_sha256(self.made_from)


def identify(context: DrawContext) -> WorkloadIdentity:
    """Raises `WorkloadError` if a file that the preset names may not be read or is not there."""
    preset = context.preset
    paths = sorted({path for part in preset.parts.values() for path in part.input_paths})
    made_from = {
        "generator_version": GENERATOR_VERSION,
        "workload": preset.model_dump(mode="json", exclude_defaults=True),
        "tokenizer_sha256": context.tokenizer.meta.sha256,
        "files_sha256": {path: file_sha256(context.path(path)) for path in paths},
    }
    return WorkloadIdentity(preset.workload_id, context.tokenizer.meta, made_from)


def reuse_workload(
    directory: Path, identity: WorkloadIdentity, limit: int, longer_context: str
) -> WorkloadMeta:
    """The metadata of the workload in `directory`, verified to be whole, unchanged and the one
    asked for.

    Raises `WorkloadError` if it was made from something else (saying what), if its requests are
    longer than `limit` tokens (`longer_context` says what helps), or if the directory is no
    workload; `ArtifactError` if one of its files was changed.
    """
    if not (directory / WORKLOAD_META_FILE).is_file():
        raise WorkloadError(
            f"{directory} exists but has no {WORKLOAD_META_FILE}: it is no workload; move it away"
        )
    meta = read_complete_workload(directory)
    for name, expected in meta.files_sha256.items():
        path = directory / name
        if not path.is_file() or file_sha256(path) != expected:
            raise ArtifactError(
                f"{path} is missing or was changed: move {directory} away and generate the "
                "workload again"
            )
    if meta.config_sha256 != identity.sha256 and (
        not meta.made_from or _by_bytes(meta.made_from) != _by_bytes(identity.made_from)
    ):
        changed = list(_differences("", meta.made_from, identity.made_from))
        raise WorkloadError(
            f"{directory} holds a workload made from something else "
            f"({'; '.join(changed) or 'of an older form'}): a workload never changes, so give the "
            "changed one another workload_id, or move the old directory away"
        )
    check_context(
        TRACE_LENGTHS.read(directory),
        limit,
        f"workload {meta.workload_id}",
        f"choose another workload, or {longer_context}",
    )
    return meta


def _by_bytes(made_from: dict[str, Any]) -> dict[str, Any]:
    """With each file's hash in the place of its path: where a file lies makes no other workload."""
    hashes = made_from.get("files_sha256", {})

    def named(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            key: hashes.get(part, part) if key == "path" else named(part)
            for key, part in value.items()
        }

    return {**named(made_from), "files_sha256": sorted(hashes.values())}


def _differences(key: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            yield from _differences(f"{key}.{name}" if key else name, old.get(name), new.get(name))
    elif old != new:
        yield f"{key} was {old!r}, is {new!r}"

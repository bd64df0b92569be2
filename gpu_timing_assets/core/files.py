"""Metadata files: a closed, frozen model each, written and read as JSON."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.upgrade import check_schema_version

CONFIG_FILE = "config.json"
# how a table may be stored besides as it was written
COMPRESSED = (".gz", ".xz")


class Metadata(BaseModel):
    """Base of what metadata files hold: frozen, unknown keys forbidden."""

    model_config = ConfigDict(frozen=True, extra="forbid")


MetadataT = TypeVar("MetadataT", bound=Metadata)
Upgrade = Callable[[dict[str, Any]], dict[str, Any]]


def read_metadata(
    path: Path, model: type[MetadataT], upgrade: Upgrade = lambda data: data
) -> MetadataT:
    """`path` as `model`, after `upgrade` has brought an older schema to today's.

    Raises `ArtifactError` naming the file and the first wrong field, or the schema version that
    this release does not read.
    """
    data = read_json(path)
    if not isinstance(data, dict):
        raise ArtifactError(f"{path} is not a JSON object")
    if version := model.model_fields.get("schema_version"):
        check_schema_version(path, data, version.default)
    try:
        return model.model_validate(upgrade(data))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise ArtifactError(f"{path}: {field}: {first['msg']}") from None


def write_json(path: Path, value: BaseModel | dict[str, Any] | list[Any]) -> None:
    data = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    path.write_text(
        json.dumps(data, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8"
    )


def read_json(path: Path) -> Any:
    """Raises `ArtifactError` naming the file if it is missing, unreadable or not JSON."""
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing") from None
    except OSError as error:
        raise ArtifactError(f"{path!s:.500} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ArtifactError(f"{path} is not JSON: {error}") from None


def parse_json(content: str | bytes) -> Any:
    """Raises `ValueError` for what is no JSON in UTF-8, nests too deep, has a key twice, a number
    that is none, or half a character.
    """
    text = content.decode("utf-8") if isinstance(content, bytes) else content
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if "\\u" in text:  # only an escape can bring half a character
        _refuse_surrogates(value)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice!r:.80} stands twice")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _refuse_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("it has half a character (a lone surrogate)") from None


def config_sha256(config: BaseModel | dict[str, Any]) -> str:
    """SHA-256 of a configuration's canonical JSON."""
    data = config.model_dump(mode="json") if isinstance(config, BaseModel) else config
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

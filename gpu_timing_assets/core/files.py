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
    """Raises `ArtifactError` naming the file if it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing") from None
    except ValueError as error:
        raise ArtifactError(f"{path} is not JSON: {error}") from None


def config_sha256(config: BaseModel | dict[str, Any]) -> str:
    """SHA-256 of a configuration's canonical JSON."""
    data = config.model_dump(mode="json") if isinstance(config, BaseModel) else config
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

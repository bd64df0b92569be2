"""What a person wants to see of a profiling bundle on Dagster's page."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import BaseModel

from gpu_timing_assets.orchestration.stage import StageClock


def describe_bundle(meta: BaseModel, root: Path, clock: StageClock) -> dict[str, Any]:
    """Every number of the bundle's metadata (coverage, quality, fitted errors) by its name, so that Dagster plots it."""
    return {
        **dict(_numbers(meta.model_dump(mode="json"))),
        "directory": dg.MetadataValue.path(root),
        "bundle": dg.MetadataValue.json(meta.model_dump(mode="json")),
        "stage_seconds": clock.seconds,
    }


def _numbers(values: Mapping[str, Any], prefix: str = "", depth: int = 3) -> Iterator[tuple[str, float | int | bool]]:
    for key, value in values.items():
        if isinstance(value, bool | int | float):
            yield f"{prefix}{key}", value
        elif isinstance(value, Mapping) and depth > 1:
            yield from _numbers(value, f"{prefix}{key}/", depth - 1)

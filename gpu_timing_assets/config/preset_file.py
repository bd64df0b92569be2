"""A preset as it lies in its file."""

from pathlib import Path
from typing import Any

import yaml

from gpu_timing_assets.core.errors import PresetError


def read_preset(path: Path) -> dict[str, Any]:
    """Raises `PresetError` naming the file if it is missing or no YAML mapping in UTF-8."""
    try:
        preset = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise PresetError(f"{path} is not a readable YAML file in UTF-8: {why}") from None
    if not isinstance(preset, dict):
        raise PresetError(f"{path} is not a mapping of keys to values: mend or remove it")
    return preset

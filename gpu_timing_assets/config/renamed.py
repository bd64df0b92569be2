"""Names of older releases: presets, keys and snapshots that still compose, each with a line that
says what it is called today.
"""

import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from gpu_timing_assets.config.backend import backend_presets
from gpu_timing_assets.core.upgrade import PREDICTORS

RENAMED_PRESETS: Mapping[str, Mapping[str, str]] = {"simulator": PREDICTORS}
RENAMED_KEYS = {"simulator.variant": "simulator.substitution"}
RENAMED_VALUES: Mapping[str, Mapping[str, str]] = {"simulator.predictor": PREDICTORS}


def current(key: str, value: Any) -> tuple[str, Any]:
    """A key (`simulator.variant`) or a group with its value, as they are called today."""
    names = RENAMED_PRESETS.get(key) or RENAMED_VALUES.get(key) or {}
    new_key = RENAMED_KEYS.get(key, key)
    new_value = names.get(value, value) if isinstance(value, str) else value
    if (new_key, new_value) != (key, value):
        _say(f"{key}={value} is called {new_key}={new_value} now")
    return new_key, new_value


def current_changes(changes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What is laid over the composed presets, group by group, as it is called today."""
    renamed = {
        group: [current(f"{group}.{name}", value) for name, value in fields.items()]
        for group, fields in changes.items()
    }
    return {
        group: {key.removeprefix(f"{group}."): value for key, value in fields}
        for group, fields in renamed.items()
    }


def upgrade_config(data: Any) -> Any:
    """A configuration snapshot as schema version 2 has it: version 1 knew one simulator, and one
    preset for all engines.
    """
    if not isinstance(data, dict) or data.get("schema_version", 1) != 1:
        return data
    upgraded = {**data, "schema_version": 2}
    if isinstance(simulator := data.get("simulator"), dict) and "name" not in simulator:
        renamed = {
            RENAMED_KEYS.get(f"simulator.{name}", f"simulator.{name}").removeprefix(
                "simulator."
            ): value
            for name, value in simulator.items()
        }
        predictor = renamed.get("predictor")
        if predictor in PREDICTORS:
            renamed["predictor"] = PREDICTORS[predictor]
        upgraded["simulator"] = {"name": "vidur", **renamed}
    if isinstance(backend := data.get("backend"), dict):
        preset = backend_presets().get(str(backend.get("name")))
        known = preset.model_fields if preset else backend
        upgraded["backend"] = {name: value for name, value in backend.items() if name in known}
    return upgraded


@cache
def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")

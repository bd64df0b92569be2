"""Names of older releases: presets, keys and snapshots that still compose, each with a line that
says what it is called today.

The line is a warning of this module's logger: a command shows it on stderr, and a step, whose
instance manages the package's loggers (`dagster.yaml`), in the run's log.
"""

import logging
from collections.abc import Mapping
from typing import Any

from gpu_timing_assets.config.backend import backend_presets
from gpu_timing_assets.core.upgrade import PREDICTORS

RENAMED_KEYS: Mapping[str, str] = {"simulator.variant": "simulator.substitution"}
# of a group the names of its presets, of a key its values
RENAMED_VALUES: Mapping[str, Mapping[str, str]] = {
    "simulator": PREDICTORS,
    "simulator.predictor": PREDICTORS,
}
_LOG = logging.getLogger(__name__)


def current(key: str, value: Any) -> tuple[str, Any]:
    """A key (`simulator.variant`) or a group with its value, as they are called today."""
    renamed = _renamed(key, value)
    if renamed != (key, value):
        _LOG.warning("%s=%s is called %s=%s now", key, value, *renamed)
    return renamed


def current_changes(changes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What is laid over the composed presets, group by group, as it is called today."""
    return {
        group: dict(
            _without_group(*current(f"{group}.{name}", value)) for name, value in fields.items()
        )
        for group, fields in changes.items()
    }


def renamed_keys(group: str) -> dict[str, str]:
    """The older names of a group's keys, each with today's."""
    prefix = f"{group}."
    return {
        old.removeprefix(prefix): new.removeprefix(prefix)
        for old, new in RENAMED_KEYS.items()
        if old.startswith(prefix)
    }


def upgrade_config(data: Any) -> Any:
    """A snapshot as schema version 2 has it: 1 had one simulator and one preset for all engines."""
    if not isinstance(data, dict) or data.get("schema_version", 1) != 1:
        return data
    upgraded = {**data, "schema_version": 2}
    if isinstance(simulator := data.get("simulator"), dict) and "name" not in simulator:
        upgraded["simulator"] = {"name": "vidur"} | dict(
            _without_group(*_renamed(f"simulator.{name}", value))
            for name, value in simulator.items()
        )
    if isinstance(backend := data.get("backend"), dict):
        preset = backend_presets().get(str(backend.get("name")))
        known = preset.model_fields if preset else backend
        upgraded["backend"] = {name: value for name, value in backend.items() if name in known}
    return upgraded


def _renamed(key: str, value: Any) -> tuple[str, Any]:
    values = RENAMED_VALUES.get(key, {})
    return RENAMED_KEYS.get(key, key), values.get(value, value) if isinstance(value, str) else value


def _without_group(key: str, value: Any) -> tuple[str, Any]:
    return key.partition(".")[2], value

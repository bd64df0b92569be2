"""What a person can choose in the launchpad: the target of a run and, per asset, a preset and
overrides of its group.

Presets are the files in `resources/presets`, overrides the fields of the presets' models with their
types, so that a wrong name, key or type is refused before a run starts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import dagster as dg
from pydantic import ConfigDict, Field

from gpu_timing_assets.config.base import Preset
from gpu_timing_assets.config.experiment import (
    PLUGIN_GROUPS,
    ExperimentConfig,
    compose,
    preset_names,
)
from gpu_timing_assets.config.settings import load_settings
from gpu_timing_assets.core.errors import PresetError
from gpu_timing_assets.dagster_app.preset_schema import as_changes, override_schema

PRESET_HELP = {
    "model": "Which model; if it is not given, this machine's default.",
    "hardware": "What the engine runs on (`cpu`, `a100`, `h100`, …); if it is not given, this "
    "machine's default.",
    "backend": "Which engine. `null_engine` answers at once: it tests the client and the graph, "
    "not an engine.",
    "profiling": "Which grids a profiling bundle measures.",
    "simulator": "Which time model: `stock`, `kernel` or `engine`.",
    "comparison": "Which thresholds judge the errors.",
}
OVERRIDES_HELP = "What is to differ from the preset. What is not given stays as it is there."
IDENTITIES = ("name", "workload_id")  # another name is another preset
TARGET_GROUPS = ("model", "hardware", "backend", "profiling")


def _preset_field(group: str) -> dg.Field:
    names = dg.Enum(f"{group} preset", [dg.EnumValue(name) for name in preset_names(group)])
    return dg.Field(names, is_required=False, description=PRESET_HELP[group])


def _presets(group: str) -> Sequence[type[Preset]]:
    """The model of a group's preset; of engines and simulators each one's."""
    if group in PLUGIN_GROUPS:
        return list(PLUGIN_GROUPS[group]().values())
    preset: type[Preset] = ExperimentConfig.model_fields[group].annotation  # type: ignore[assignment]
    return [preset]


def _overrides_field(group: str) -> dg.Field:
    return dg.Field(
        override_schema(*_presets(group), without=IDENTITIES),
        is_required=False,
        description=OVERRIDES_HELP,
    )


WORKLOAD_SPEC_SCHEMA = {"overrides": _overrides_field("workload")}
SIM_RUN_SCHEMA = {"preset": _preset_field("simulator"), "overrides": _overrides_field("simulator")}
COMPARISON_SCHEMA = {
    "preset": _preset_field("comparison"),
    "overrides": _overrides_field("comparison"),
}
TARGET_SCHEMA = {
    **{group: _preset_field(group) for group in TARGET_GROUPS},
    "overrides": dg.Field(
        {group: _overrides_field(group) for group in TARGET_GROUPS},
        is_required=False,
        description=OVERRIDES_HELP,
    ),
}


class ProfilingBundleConfig(dg.Config):
    """The bundle is of the run's target; here only when it is measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    force: bool = Field(
        default=False,
        description="Measure again even if a valid bundle of this configuration is there.",
    )


@dataclass(frozen=True)
class Choice:
    """The presets that were named, one a group, and per group what differs from them."""

    presets: Mapping[str, str] = field(default_factory=dict)
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of_asset(cls, context: dg.AssetExecutionContext, group: str) -> Self:
        """From the configuration of an asset that one group of presets decides."""
        config = context.op_execution_context.op_config or {}
        return cls(
            {group: config["preset"]} if "preset" in config else {},
            {group: as_changes(_presets(group), config.get("overrides", {}))},
        )


class Target(Choice):
    """The model, hardware and engine that all assets of a run measure and simulate, and the grids
    of its bundle.

    It is one resource and not a setting of each asset, because a simulation of another target than
    the one that was measured compares with nothing.
    """

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        return cls(
            {group: config[group] for group in TARGET_GROUPS if group in config},
            {
                group: as_changes(_presets(group), changes)
                for group, changes in config.get("overrides", {}).items()
            },
        )

    @property
    def target_id(self) -> str:
        return self.experiment().target.id

    def experiment(
        self, workload_id: str | None = None, chosen: Choice = Choice()
    ) -> ExperimentConfig:
        """The composed experiment. Raises `PresetError` naming what does not exist or does not
        validate.
        """
        presets = {
            **self.presets,
            **({"workload": workload_id} if workload_id else {}),
            **chosen.presets,
        }
        return compose(
            [*load_settings().target, *(f"{group}={name}" for group, name in presets.items())],
            {**self.changes, **chosen.changes},
        )


@dg.resource(
    config_schema=TARGET_SCHEMA,
    description="What is measured and simulated: model, hardware, engine, and the "
    "grids of the profiling bundle.",
)
def _target(context: dg.InitResourceContext) -> Target:
    return Target.from_config(context.resource_config)


# Dagster maps a resource's configuration before it makes a run: what no schema can express is
# refused there as well.
@dg.configured(_target, config_schema=TARGET_SCHEMA)
def target(config: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        Target.from_config(config).experiment()
    except PresetError as error:
        raise dg.DagsterInvalidConfigError(
            f"the resource `target` does not validate: {error}", [], config
        ) from error
    return config

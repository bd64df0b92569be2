"""The resource `target`: what all assets of a run measure and simulate."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import dagster as dg

from gpu_timing_assets.config.experiment import ExperimentConfig, compose
from gpu_timing_assets.config.settings import load_settings
from gpu_timing_assets.core.errors import PresetError
from gpu_timing_assets.dagster_app.launchpad import TARGET_GROUPS, TARGET_SCHEMA, presets_of
from gpu_timing_assets.dagster_app.preset_schema import as_changes


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
            {group: as_changes(presets_of(group), group, config.get("overrides", {}))},
        )

    @classmethod
    def of_target(cls, config: Mapping[str, Any]) -> Self:
        """From the configuration of the resource `target`."""
        return cls(
            {group: config[group] for group in TARGET_GROUPS if group in config},
            {
                group: as_changes(presets_of(group), group, overrides)
                for group, overrides in config.get("overrides", {}).items()
            },
        )


@dataclass(frozen=True)
class TargetResource:
    """Composes the experiments of a run, on the target that was chosen for it.

    The target is one resource and not a setting of each asset, because a simulation of another
    target than the one that was measured compares with nothing.
    """

    choice: Choice = Choice()

    @property
    def id(self) -> str:
        return self.experiment().target.id

    def experiment(
        self, workload_id: str | None = None, of_asset: Choice = Choice()
    ) -> ExperimentConfig:
        """The target with a workload and what an asset chooses on top of it. Raises `PresetError`
        naming what does not exist or does not validate.
        """
        workload = {"workload": workload_id} if workload_id else {}
        presets = {**self.choice.presets, **workload, **of_asset.presets}
        return compose(
            [*load_settings().target, *(f"{group}={name}" for group, name in presets.items())],
            {**self.choice.changes, **of_asset.changes},
        )


@dg.resource(
    config_schema=TARGET_SCHEMA,
    description="What is measured and simulated: model, hardware, engine, and the "
    "grids of the profiling bundle.",
)
def _target(context: dg.InitResourceContext) -> TargetResource:
    return TargetResource(Choice.of_target(context.resource_config))


# Dagster maps a resource's configuration before it makes a run: what no schema can express is
# refused there as well.
@dg.configured(_target, config_schema=TARGET_SCHEMA)
def target(config: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        TargetResource(Choice.of_target(config)).experiment()
    except PresetError as error:
        raise dg.DagsterInvalidConfigError(
            f"the resource `target` does not validate: {error}", [], config
        ) from error
    return config

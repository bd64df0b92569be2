"""What a person can choose in the launchpad: the target of a run and, per asset, a preset and
overrides of its group.

Presets are the files in `resources/presets` and the plug-ins, overrides the fields of the presets'
models with their types, so that a wrong name, key or type is refused before a run starts. Names of
older releases are taken too.
"""

from collections.abc import Mapping

import dagster as dg
from pydantic import ConfigDict, Field

from gpu_timing_assets.config.base import Preset
from gpu_timing_assets.config.experiment import PLUGIN_GROUPS, ExperimentConfig, preset_names
from gpu_timing_assets.config.renamed import RENAMED_VALUES
from gpu_timing_assets.dagster_app.preset_schema import choice_of_names, override_schema

PRESET_HELP = {
    "model": "Model that is served; left out: this code location's.",
    "hardware": "Hardware that the engine runs on; left out: this code location's.",
    "backend": "Engine and its settings; left out: the hardware's.",
    "profiling": "Grids that a profiling bundle measures: finer ones take longer and interpolate "
    "less; left out: the hardware's.",
    "simulator": "Simulator and its time model.",
    "comparison": "Thresholds that judge the errors.",
}
OVERRIDES_HELP = {
    "workload": "Settings of the workload that replace its preset's, in this partition.",
    "model": "Settings of the model that replace its preset's.",
    "hardware": "Settings of the hardware and of measurements on it that replace its preset's.",
    "backend": "Settings of the engine that replace its preset's.",
    "profiling": "Grids and bounds of the bundle that replace the preset's; the bundle is then "
    "measured again.",
    "simulator": "Options of the simulator that replace its preset's.",
    "comparison": "Thresholds and objectives that replace the preset's.",
}
IDENTITIES = ("name", "workload_id")  # another name is another preset
TARGET_GROUPS = ("model", "hardware", "backend", "profiling")


def presets_of(group: str) -> Mapping[str, type[Preset]]:
    """The models of a group's presets: of engines and simulators each plug-in's, by its name."""
    if group in PLUGIN_GROUPS:
        return PLUGIN_GROUPS[group]()
    preset: type[Preset] = ExperimentConfig.model_fields[group].annotation  # type: ignore[assignment]
    return {group: preset}


def _preset_field(group: str) -> dg.Field:
    names = choice_of_names(f"{group} preset", preset_names(group), RENAMED_VALUES.get(group, {}))
    return dg.Field(names, is_required=False, description=PRESET_HELP[group] + _registered(group))


def _registered(group: str) -> str:
    """The plug-ins of a group, each with the first sentence of its preset's docstring."""
    if group not in PLUGIN_GROUPS:
        return ""
    sentences = {
        name: " ".join((preset.__doc__ or "").split()).partition(". ")[0].rstrip(".")
        for name, preset in presets_of(group).items()
    }
    return " Registered: " + "; ".join(f"{name} ({text})" for name, text in sentences.items()) + "."


def _overrides_field(group: str) -> dg.Field:
    schema = override_schema(presets_of(group), group, without=IDENTITIES)
    return dg.Field(schema, is_required=False, description=OVERRIDES_HELP[group])


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
        description="Settings that replace the presets', group by group.",
    ),
}


class ProfilingBundleConfig(dg.Config):
    """The bundle is of the run's target; here only when it is measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    force: bool = Field(
        default=False,
        description="Measure again even if a valid bundle of this configuration is there.",
    )

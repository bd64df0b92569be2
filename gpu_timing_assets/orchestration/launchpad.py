"""What a person can choose in the launchpad: the target of a run and, per asset, a preset and overrides of its group.

Presets are enumerations of the files in `resources/presets`, so that a wrong name or key is refused before a run starts;
what stands in `overrides` is composed and validated before the first stage does anything.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, cast

import dagster as dg
from pydantic import ConfigDict, Field, field_validator

from gpu_timing_assets.artifacts.errors import PresetError
from gpu_timing_assets.orchestration.settings import load_settings
from gpu_timing_assets.presets.experiment import ExperimentConfig, compose, preset_names


def _choice(group: str) -> type[StrEnum]:
    """The presets of a group as an enumeration: Dagster refuses any other value, and the launchpad offers these."""
    members = {name: name for name in preset_names(group)}
    return cast(type[StrEnum], StrEnum(f"{group.capitalize()}Preset", members))


if TYPE_CHECKING:
    ModelName = str
    HardwareName = str
    BackendName = str
    ProfilingName = str
    SimulatorName = str
    ComparisonName = str
else:
    ModelName = _choice("model")
    HardwareName = _choice("hardware")
    BackendName = _choice("backend")
    ProfilingName = _choice("profiling")
    SimulatorName = _choice("simulator")
    ComparisonName = _choice("comparison")

OVERRIDES_HELP = "Hydra overrides, one a line, such as "


def only_groups(overrides: Sequence[str], groups: Sequence[str]) -> list[str]:
    """The overrides, if all are keys of `groups` and compose to a valid experiment; `ValueError` says which is not."""
    for override in overrides:
        head = override.lstrip("+~").split("=", 1)[0].split(".", 1)[0]
        if head not in groups:
            raise ValueError(f"{override!r} is not an override of {' or '.join(groups)}; it belongs to another asset "
                             "or to the resource `target`")
    if overrides:
        try:
            compose([*load_settings().target, *overrides])
        except PresetError as error:  # Pydantic reports a ValueError as a fault of the field
            raise ValueError(str(error)) from None
    return list(overrides)


class TargetResource(dg.ConfigurableResource):
    """The model, hardware and engine that all assets of a run measure and simulate, and the grids of its bundle.

    It is one resource and not a setting of each asset, because a simulation of another target than the one that was
    measured compares with nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: ModelName | None = Field(default=None, description="Model preset; empty: the default of this machine.")
    hardware: HardwareName | None = Field(default=None, description="Hardware preset (`cpu`, `a100`, `h100`, …).")
    backend: BackendName | None = Field(default=None, description="Engine preset. `null_engine` answers at once: it "
                                                                  "tests the client and the graph, not an engine.")
    profiling: ProfilingName | None = Field(default=None, description="The grids that a profiling bundle measures.")
    overrides: list[str] = Field(default_factory=list, description=OVERRIDES_HELP + "`backend.max_num_seqs=8`, of "
                                 "model, hardware, backend or profiling.")

    @field_validator("overrides")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        return only_groups(value, ("model", "hardware", "backend", "profiling"))

    def experiment(self, workload_id: str | None = None, overrides: Sequence[str] = ()) -> ExperimentConfig:
        """The composed experiment. Raises `PresetError` naming what does not exist or does not validate."""
        chosen = {"model": self.model, "hardware": self.hardware, "backend": self.backend, "profiling": self.profiling,
                  "workload": workload_id}
        return compose([*load_settings().target,
                        *(f"{group}={name}" for group, name in chosen.items() if name is not None),
                        *self.overrides, *overrides])


class StageConfig(dg.Config):
    """Base of the assets' configurations: closed and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WorkloadSpecConfig(StageConfig):
    """The preset of a workload is its partition; here only what is to differ from it."""

    overrides: list[str] = Field(default_factory=list, description=OVERRIDES_HELP + "`workload.seed=11`. The partition "
                                 "then holds that workload until it is materialized without.")

    @field_validator("overrides")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        return only_groups(value, ("workload",))


class ProfilingBundleConfig(StageConfig):
    force: bool = Field(default=False, description="Measure again even if a valid bundle of this configuration is there.")


class SimRunConfig(StageConfig):
    preset: SimulatorName | None = Field(default=None, description="Simulator preset: `stock`, `kernel` or `engine`.")
    overrides: list[str] = Field(default_factory=list, description=OVERRIDES_HELP + "`simulator.seed=3` or "
                                 "`simulator.variant=recorded_batches`.")

    @field_validator("overrides")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        return only_groups(value, ("simulator",))

    def as_overrides(self) -> list[str]:
        return [*([f"simulator={self.preset}"] if self.preset else []), *self.overrides]


class ComparisonConfig(StageConfig):
    preset: ComparisonName | None = Field(default=None, description="Which thresholds judge the errors.")
    overrides: list[str] = Field(default_factory=list, description=OVERRIDES_HELP + "`comparison.pass_pct=3`.")

    @field_validator("overrides")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        return only_groups(value, ("comparison",))

    def as_overrides(self) -> list[str]:
        return [*([f"comparison={self.preset}"] if self.preset else []), *self.overrides]

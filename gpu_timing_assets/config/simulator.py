"""The simulator and its options: what all share; each brings its own preset."""

from collections.abc import Mapping
from typing import Annotated, Protocol

from gpu_timing_assets.config.base import Preset
from gpu_timing_assets.config.plugins import OneOf, Plugins


class SimulatorPreset(Preset):
    """Which simulator predicts the target's times, and how."""

    name: str
    """Name of the simulator."""

    @property
    def run_label(self) -> str:
        """What tells this simulation from others of the same workload and target, in ids."""
        return self.name.replace("_", "-")

    @property
    def needs_real_run(self) -> bool:
        """Whether it reads what a real run recorded."""
        return False


class SimulatorPlugin(Protocol):
    """What the configuration needs of a simulator's plug-in (see `simulators.base.Simulator`)."""

    @property
    def name(self) -> str: ...
    @property
    def preset(self) -> type[SimulatorPreset]: ...


SIMULATORS: Plugins[SimulatorPlugin] = Plugins(
    "simulator", "gpu_timing_assets.simulators", lambda plugin: plugin.name
)


def simulator_presets() -> Mapping[str, type[SimulatorPreset]]:
    return {name: plugin.preset for name, plugin in SIMULATORS.all().items()}


Simulator = Annotated[SimulatorPreset, OneOf(simulator_presets, "name")]

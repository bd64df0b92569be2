"""Hydra composition of the preset groups into one frozen configuration, and its snapshots."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError, field_validator

from gpu_timing_assets.config.backend import Backend, backend_presets
from gpu_timing_assets.config.base import Preset
from gpu_timing_assets.config.comparison import ComparisonPreset
from gpu_timing_assets.config.hardware import HardwarePreset
from gpu_timing_assets.config.model import ModelPreset
from gpu_timing_assets.config.preset_file import read_preset
from gpu_timing_assets.config.profiling import ProfilingPreset
from gpu_timing_assets.config.renamed import current, current_changes, upgrade_config
from gpu_timing_assets.config.simulator import Simulator, simulator_presets
from gpu_timing_assets.config.workload import WorkloadPreset
from gpu_timing_assets.core.data_root import RESOURCES, DataRoot, check_name, default_data_root
from gpu_timing_assets.core.errors import PresetError
from gpu_timing_assets.core.files import CONFIG_FILE, config_sha256, read_json
from gpu_timing_assets.core.target import Target, comparison_id
from gpu_timing_assets.core.upgrade import check_schema_version

PRESETS = RESOURCES / "presets"
GROUPS = ("workload", "model", "hardware", "backend", "profiling", "simulator", "comparison")


# what a plug-in adds to a group: presets by the name that they have there
PLUGIN_GROUPS: Mapping[str, Callable[[], Mapping[str, type[Preset]]]] = {
    "backend": backend_presets,
    "simulator": simulator_presets,
}


class ExperimentConfig(Preset):
    """Everything that decides an experiment: one preset of each group, resolved."""

    schema_version: Literal[2] = 2
    workload: WorkloadPreset
    model: ModelPreset
    hardware: HardwarePreset
    backend: Backend
    profiling: ProfilingPreset
    simulator: Simulator
    comparison: ComparisonPreset
    data_root: str | None = None

    @field_validator("data_root")
    @classmethod
    def _of_home(cls, path: str | None) -> str | None:
        try:
            return path and str(Path(path).expanduser())
        except RuntimeError:
            raise ValueError("there is no such user: give a path") from None

    @property
    def data(self) -> DataRoot:
        return DataRoot(Path(self.data_root) if self.data_root else default_data_root())

    @property
    def target(self) -> Target:
        return Target(self.model.name, self.hardware.name, self.backend.name)

    @property
    def sim_run_id(self) -> str:
        return f"{self.workload.workload_id}--{self.target.id}--{self.simulator.run_label}"

    @property
    def comparison_id(self) -> str:
        return comparison_id(self.workload.workload_id, self.target)

    @property
    def profiling_root(self) -> Path:
        devices = self.backend.tensor_parallel_size
        return self.data.profiling_root(self.hardware.name, self.model.name, devices)

    @property
    def bundle_config_sha256(self) -> str:
        """Identity of what a profiling bundle measures: target and grids, not the workload."""
        limit = self.hardware.cpu_instruction_set
        return config_sha256(
            {
                "model": self.model.model_dump(mode="json"),
                "backend": self.backend.model_dump(
                    mode="json", exclude=set(self.backend.not_profiled)
                ),
                "hardware": self.hardware.name,
                **({"cpu_instruction_set": limit} if limit else {}),
                "profiling": self.profiling.model_dump(mode="json"),
            }
        )


def preset_names(group: str) -> list[str]:
    """The presets of a group: the files in `resources/presets/<group>/`, and of engines and
    simulators those plug-ins that come without one, with their defaults.
    """
    files = {path.stem for path in (PRESETS / group).glob("*.yaml")}
    return sorted(files | set(_plugins_without_file(group)))


def _plugins_without_file(group: str) -> list[str]:
    if group not in PLUGIN_GROUPS:
        return []
    named = {read_preset(path).get("name") for path in (PRESETS / group).glob("*.yaml")}
    return [name for name in PLUGIN_GROUPS[group]() if name not in named]


def target_hardware(overrides: Sequence[str]) -> HardwarePreset:
    """The hardware that `overrides` compose (`hardware=h100 hardware.pool=lab`), read without
    Hydra, whose import takes longer than all else that loading the graph's definitions does.

    Raises `PresetError` for what does not exist or does not validate.
    """
    experiment = read_preset(PRESETS / "experiment.yaml")
    [name] = (group["hardware"] for group in experiment["defaults"] if "hardware" in group)
    changes = {}
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if key == "hardware":
            name = value
        elif key.startswith("hardware."):
            changes[key.removeprefix("hardware.")] = _yaml_value(override, value)
    _check_preset("hardware", name)
    preset = read_preset(PRESETS / "hardware" / f"{name}.yaml")
    try:
        return HardwarePreset.model_validate(
            {key: value for key, value in preset.items() if key != "defaults"} | changes
        )
    except ValidationError as error:
        raise _invalid(error, "the target") from None


def _yaml_value(override: str, value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise PresetError(f"override {override!r:.200} is not key=value in YAML") from None


def compose(
    overrides: Sequence[str] = (), changes: Mapping[str, Any] | None = None
) -> ExperimentConfig:
    """Compose the presets with Hydra overrides (`workload=chat_poisson`, `backend.max_num_seqs=8`)
    and validate them. An override of a whole part (`workload.arrivals={kind: all_at_once}`)
    replaces it.

    `changes` is laid over the composed presets (`{"backend": {"max_num_seqs": 8}}`); of a part with
    a `kind`, such as the arrivals, another kind replaces all of it. Raises `PresetError` naming the
    wrong preset or key and what is nearest to it.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.config_store import ConfigStore
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    checked = [each for override in overrides for each in _applied(_checked(override))]
    for group in PLUGIN_GROUPS:
        for name in _plugins_without_file(group):
            ConfigStore.instance().store(name, {"name": name}, group)
    try:
        with initialize_config_dir(str(PRESETS)):
            composed: Any = OmegaConf.to_container(
                hydra_compose("experiment", checked), resolve=True
            )
    except (
        *(HydraException, OmegaConfBaseException, yaml.YAMLError),
        *(ValueError, RecursionError),
    ) as error:
        message = " ".join(str(error).split())
        raise PresetError(f"the presets cannot be composed: {message:.500}") from None
    return validate(_changed(composed, current_changes(changes or {})), "the composed presets")


def _changed(preset: Any, changes: Any) -> Any:
    if not (isinstance(preset, dict) and isinstance(changes, Mapping)):
        return changes
    if changes.get("kind", preset.get("kind")) != preset.get("kind"):
        return changes
    return {**preset, **{key: _changed(preset.get(key), value) for key, value in changes.items()}}


def validate(data: Any, where: str) -> ExperimentConfig:
    """Raises `PresetError` naming the field and what is wrong with it."""
    try:
        return ExperimentConfig.model_validate(upgrade_config(data))
    except ValidationError as error:
        raise _invalid(error, where) from None


def _invalid(error: ValidationError, where: str) -> PresetError:
    first = error.errors()[0]
    # the name of the plug-in whose preset refused it says nothing that the group does not
    parts = [
        str(part)
        for position, part in enumerate(first["loc"])
        if position != 1 or first["loc"][0] not in PLUGIN_GROUPS
    ]
    return PresetError(
        f"{where}: {'.'.join(parts)}: {first['msg']} (got {first.get('input')!r:.80})"
    )


def load_snapshot(directory: Path) -> ExperimentConfig:
    """The configuration that made `directory`. Raises `PresetError` if it is not valid here,
    `ArtifactError` if it is not there or of a schema version that is not read.
    """
    path = directory / CONFIG_FILE
    data = read_json(path)
    if isinstance(data, dict):
        check_schema_version(path, data, ExperimentConfig.model_fields["schema_version"].default)
    return validate(data, str(path))


def _checked(override: str) -> str:
    """The override as Hydra takes it: a known key that no file spells out is added."""
    match = re.match(r"^(\+\+|\+|~)?([A-Za-z_][\w.@/]*)=(.*)$", override, re.DOTALL)
    if not match:
        raise PresetError(
            f"override {override!r:.200} is not of the form key=value (for example "
            "workload=chat_poisson)"
        )
    prefix, (key, value) = match[1] or "", current(match[2], match[3])
    if key in GROUPS:
        _check_preset(key, value)
        return f"{prefix}{key}={value}"
    head, *rest = key.split(".")
    if head not in (*GROUPS, "data_root"):
        near = _near(head, [*GROUPS, "data_root"])
        raise PresetError(f"there is no key {key!r:.200}{near}")
    if rest and rest[0] not in (fields := _fields(head)):
        known = ", ".join(fields)
        near = _near(rest[0], fields, head)
        raise PresetError(f"there is no key {key!r:.200}{near} (known: {known})")
    if key == "data_root" and value.startswith("~"):
        value = f"'{value}'"  # which is a deletion to Hydra
    return f"{prefix or '++'}{key}={value}"


def _applied(checked: str) -> tuple[str, ...]:
    """Hydra merges an object into what is there, so that a part of another kind would keep the old
    one's keys: it is emptied before.
    """
    key, _, value = checked.partition("=")
    is_part = "." in key and value.lstrip().startswith("{") and not key.startswith("~")
    return (f"{key}=null", checked) if is_part else (checked,)


def _check_preset(group: str, name: str) -> None:
    check_name(name, group, r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    if name not in (names := preset_names(group)):
        raise PresetError(
            f"there is no {group} preset {name!r}{_near(name, names)} (known: {', '.join(names)})"
        )
    if (path := PRESETS / group / f"{name}.yaml").exists():
        read_preset(path)


def _fields(group: str) -> list[str]:
    """The keys of a group's preset, of a plug-in group's presets all together."""
    model: Any = ExperimentConfig.model_fields[group].annotation
    models = PLUGIN_GROUPS[group]().values() if group in PLUGIN_GROUPS else [model]
    return list(dict.fromkeys(name for one in models for name in one.model_fields))


def _near(word: str, known: Sequence[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f": did you mean {f'{prefix}.' if prefix else ''}{close[0]}?" if close else ""

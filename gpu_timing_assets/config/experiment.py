"""Hydra composition of the preset groups into one frozen configuration, and its snapshot in every
output directory."""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from gpu_timing_assets.config.base import Preset
from gpu_timing_assets.config.comparison import ComparisonPreset
from gpu_timing_assets.config.profiling import ProfilingPreset
from gpu_timing_assets.config.simulator import SimulatorPreset
from gpu_timing_assets.config.target import BackendPreset, HardwarePreset, ModelPreset
from gpu_timing_assets.config.workload import WorkloadPreset
from gpu_timing_assets.core.data_root import RESOURCES, DataRoot, check_name, default_data_root
from gpu_timing_assets.core.errors import PresetError
from gpu_timing_assets.core.metadata import CONFIG_FILE, config_sha256, read_json

PRESETS = RESOURCES / "presets"
GROUPS = ("workload", "model", "hardware", "backend", "profiling", "simulator", "comparison")


class ExperimentConfig(Preset):
    """Everything that decides an experiment: one preset of each group, resolved."""

    workload: WorkloadPreset
    model: ModelPreset
    hardware: HardwarePreset
    backend: BackendPreset
    profiling: ProfilingPreset
    simulator: SimulatorPreset
    comparison: ComparisonPreset
    data_root: str | None = None

    @property
    def data(self) -> DataRoot:
        return DataRoot(Path(self.data_root) if self.data_root else default_data_root())

    @property
    def target_id(self) -> str:
        """`<model>--<hardware>--<backend>`: the target's part of run and comparison ids."""
        return f"{self.model.name}--{self.hardware.name}--{self.backend.name.replace('_', '-')}"

    @property
    def sim_run_id(self) -> str:
        variant = f"--{self.simulator.variant.replace('_', '-')}" if self.simulator.variant else ""
        return f"{self.workload.workload_id}--{self.target_id}--{self.simulator.predictor}{variant}"

    @property
    def comparison_id(self) -> str:
        return f"{self.workload.workload_id}--{self.target_id}"

    @property
    def bundle_config_sha256(self) -> str:
        """Identity of what a profiling bundle measures: the target and the grids, not the
        workload."""
        backend = self.backend.model_dump(
            mode="json",
            exclude={
                "early_stopping",
                "record_steps",
                "warmup_requests",
                "warmup_prefill_tokens",
                "warmup_decode_tokens",
                "start_timeout_s",
                "request_timeout_s",
                "python",
                "null_token_interval_ms",
            },
        )
        return config_sha256(
            {
                "model": self.model.model_dump(mode="json"),
                "backend": backend,
                "hardware": self.hardware.name,
                **(
                    {"cpu_instruction_set": limit}
                    if (limit := self.hardware.cpu_instruction_set)
                    else {}
                ),
                "profiling": self.profiling.model_dump(mode="json"),
            }
        )


def preset_names(group: str) -> list[str]:
    """The presets of a group, from the file names in `resources/presets/<group>/`."""
    return sorted(path.stem for path in (PRESETS / group).glob("*.yaml"))


def compose(
    overrides: Sequence[str] = (), changes: Mapping[str, Any] | None = None
) -> ExperimentConfig:
    """Compose the presets with Hydra overrides (`workload=chat_poisson`, `backend.max_num_seqs=8`)
    and validate them.

    `changes` is laid over the composed presets (`{"backend": {"max_num_seqs": 8}}`); of a part with
    a `kind`, such as the arrivals, another kind replaces all of it. Raises `PresetError` naming the
    wrong preset or key and what is nearest to it."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    overrides = [_checked(override) for override in overrides]
    try:
        with initialize_config_dir(str(PRESETS)):
            composed = OmegaConf.to_container(
                hydra_compose("experiment", list(overrides)), resolve=True
            )
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise PresetError(
            f"the presets cannot be composed: {' '.join(str(error).split())}"
        ) from None
    return validate(_changed(composed, changes or {}), "the composed presets")


def _changed(preset: Any, changes: Any) -> Any:
    if not (isinstance(preset, dict) and isinstance(changes, Mapping)):
        return changes
    if changes.get("kind", preset.get("kind")) != preset.get("kind"):
        return changes
    return {**preset, **{key: _changed(preset.get(key), value) for key, value in changes.items()}}


def validate(data: Any, where: str) -> ExperimentConfig:
    """Raises `PresetError` naming the field, what is wrong with it and, for an unknown key, the
    nearest known one."""
    try:
        return ExperimentConfig.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        raise PresetError(
            f"{where}: {path}: {first['msg']} (got {first.get('input')!r:.80})"
        ) from None


def load_snapshot(directory: Path) -> ExperimentConfig:
    """The configuration that made `directory`, from its snapshot. Raises `PresetError` if it is not
    valid here."""
    return validate(read_json(directory / CONFIG_FILE), str(directory / CONFIG_FILE))


def _checked(override: str) -> str:
    """The override as Hydra takes it: a known key that no preset file spells out is added. Raises
    `PresetError`."""
    match = re.match(r"^(\+\+|\+|~)?([A-Za-z_][\w.@/]*)=(.*)$", override, re.DOTALL)
    if not match:
        raise PresetError(
            f"override {override!r} is not of the form key=value (for example "
            f"workload=chat_poisson)"
        )
    key, value = match[2], match[3]
    if key in GROUPS:
        check_name(value, key, r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
        if value not in (names := preset_names(key)):
            raise PresetError(
                f"there is no {key} preset {value!r}{_near(value, names)} (known: "
                f"{', '.join(names)})"
            )
        return override
    head, *rest = key.split(".")
    if head not in (*GROUPS, "data_root"):
        raise PresetError(f"there is no key {key!r}{_near(head, [*GROUPS, 'data_root'])}")
    if rest:
        model = ExperimentConfig.model_fields[head].annotation
        fields = list(getattr(model, "model_fields", {}))
        if rest[0] not in fields:
            raise PresetError(
                f"there is no key {key!r}{_near(rest[0], fields, head)} (known: "
                f"{', '.join(fields)})"
            )
    return override if match[1] else f"++{override}"


def _near(word: str, known: Sequence[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f": did you mean {f'{prefix}.' if prefix else ''}{close[0]}?" if close else ""

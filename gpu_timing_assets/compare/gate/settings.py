"""Parity: did both sides do the same work, on the same target, under the same settings?"""

import json
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gpu_timing_assets.compare.gate.known_settings import has_no_effect, timing_reason
from gpu_timing_assets.compare.result_table import RUN_ID, SIDE, Column, table
from gpu_timing_assets.core.run import RealRunMeta, SimRunMeta, WorkloadRunMeta

IDENTITY = ("workload_id", "workload_sha256", "model", "hardware")
# Settings that may differ between a real run and a simulation of it without making the figures
# meaningless; a repeat of a real run must agree even there.
LISTED_OF_SIMULATION = (
    *("attention_backend_version", "comparable_under_load", "device_name", "other"),
)
LISTED_OF_REPEAT = ("comparable_under_load",)
KV_BLOCKS = "num_kv_blocks"
PREFIX_CACHING = "enable_prefix_caching"
# every setting as the engine resolved it: older runs have neither, which is no difference
RECORDED_SINCE = ("resolved", "environment")
PARITY = table(
    "parity",
    RUN_ID,
    SIDE,
    Column("knob", "identity or resolved setting"),
    Column("value", "its value in this run"),
    Column("first_real_run", "its value in the first real run"),
    Column("parity", "equal, refuses, listed (may differ), not held against (one side only)"),
)
_ABSENT = object()


@dataclass(frozen=True)
class Difference:
    """A setting of a run that differs from the first real run's; `reason`: what it decides."""

    run_id: str
    setting: str
    real: str
    other: str
    refuses: bool
    reason: str | None = None

    @property
    def text(self) -> str:
        decides = f" (it decides {self.reason})" if self.reason else ""
        return (
            f"{self.setting} is {self.real} in the real run, {self.other} in {self.run_id}{decides}"
        )


def differences(
    real: list[RealRunMeta], simulated: list[SimRunMeta], kv_blocks_tolerance_pct: float = 0.0
) -> list[Difference]:
    """Every difference from the first real run, of the other real runs and of the simulations, in
    that order.

    Held against each other: workload and its hash, model, hardware, backend, and everything in
    `params`. A setting that one side does not record counts as different: what was not simulated
    cannot be assumed equal. Listed and refusing nothing are KV blocks within the tolerance, what a
    simulation does not take account of (`simulated_settings`), and of `resolved` and `environment`
    what is not known to change the timing; what is known not to is left out.
    """
    found = []
    for other in (*real[1:], *simulated):
        if isinstance(other, SimRunMeta) and _pretends_a_prefix_cache(other):
            found.append(
                Difference(
                    run_id=other.run_id,
                    setting=PREFIX_CACHING,
                    real=_show(real[0].params.enable_prefix_caching),
                    other="true, which this simulator does not simulate",
                    refuses=True,
                    reason="what is cached",
                )
            )
            continue  # its other settings are those of a system that it did not simulate
        ours, theirs = _held(real[0], other)
        for setting in [*ours, *sorted(theirs.keys() - ours.keys())]:
            one, two = ours.get(setting, _ABSENT), theirs.get(setting, _ABSENT)
            # a null setting is one that its side had nothing to record for
            if one == two or (one in (_ABSENT, None) and two in (_ABSENT, None)):
                continue
            close = setting == KV_BLOCKS and _within(one, two, kv_blocks_tolerance_pct)
            found.append(
                Difference(
                    run_id=other.run_id,
                    setting=setting,
                    real=_show(one),
                    other=_show(two),
                    refuses=not close and _decides(setting, other),
                    reason=timing_reason(setting),
                )
            )
    return found


def _pretends_a_prefix_cache(run: SimRunMeta) -> bool:
    """Earlier releases copied the setting from the bundle and simulated no cache. A simulator that
    names what it simulates is believed, or its difference listed.
    """
    return run.params.enable_prefix_caching and run.simulated_settings is None


def settings_of(meta: WorkloadRunMeta) -> dict[str, Any]:
    """The identity, then all settings under flat names, sorted; without those of no effect."""
    flat = _flat(meta.params.model_dump(mode="json"))
    known = {name: flat[name] for name in sorted(flat) if not has_no_effect(name)}
    return {**{name: getattr(meta, name) for name in IDENTITY}, **known}


def _held(reference: RealRunMeta, other: WorkloadRunMeta) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is held against each other, of both sides."""
    ours, theirs = settings_of(reference), settings_of(other)
    unheld: set[str] = set()
    for group in RECORDED_SINCE:
        sides = [{name for name in side if name.startswith(f"{group}.")} for side in (ours, theirs)]
        unheld |= set() if all(sides) else set.union(*sides)
    if isinstance(other, SimRunMeta):  # what it was not told of it does not simulate otherwise
        unheld |= {name for name in ours.keys() - theirs.keys() if name.startswith("other.")}
    ours, theirs = (
        {name: value for name, value in side.items() if name not in unheld}
        for side in (ours, theirs)
    )
    return {"backend": reference.backend, **ours}, {"backend": other.backend, **theirs}


def _decides(setting: str, other: WorkloadRunMeta) -> bool:
    """Whether a difference in it makes the figures of `other` meaningless."""
    if setting in (*IDENTITY, "backend"):
        return True
    field = setting.split(".")[0]
    if isinstance(other, SimRunMeta):
        simulated = other.simulated_settings
        if field in LISTED_OF_SIMULATION or (simulated is not None and field not in simulated):
            return False
    elif field in LISTED_OF_REPEAT:
        return False
    return field not in RECORDED_SINCE or timing_reason(setting) is not None


def _within(one: Any, two: Any, tolerance_pct: float) -> bool:
    known = isinstance(one, int) and isinstance(two, int) and one > 0
    return known and 100 * abs(two - one) / one <= tolerance_pct


def settings_table(
    real: list[RealRunMeta], simulated: list[SimRunMeta], kv_blocks_tolerance_pct: float = 0.0
) -> pd.DataFrame:
    """Every setting of every run beside the first real run's; the backend only where it differs."""
    parity = {
        (found.run_id, found.setting): "refuses" if found.refuses else "listed"
        for found in differences(real, simulated, kv_blocks_tolerance_pct)
    }
    reference = settings_of(real[0])
    rows = []
    for run in (*real, *simulated):
        values = settings_of(run)
        names = [*IDENTITY, *sorted((reference.keys() | values.keys()) - set(IDENTITY))]
        if (run.run_id, "backend") in parity:
            names.insert(0, "backend")
            values["backend"], reference["backend"] = run.backend, real[0].backend
        for name in names:
            in_both = name in reference and name in values
            rows.append(
                dict(
                    run_id=run.run_id,
                    side="real" if isinstance(run, RealRunMeta) else "simulated",
                    knob=name,
                    value=_show(values.get(name, _ABSENT)),
                    first_real_run=_show(reference.get(name, _ABSENT)),
                    parity=parity.get(
                        (run.run_id, name), "equal" if in_both else "not held against"
                    ),
                )
            )
    return PARITY.frame(rows)


def _flat(params: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _show(value: Any) -> str:
    if value is _ABSENT:
        return "not recorded"
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"

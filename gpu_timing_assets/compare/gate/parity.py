"""The gate before any figure: did both sides do the same work, on the same target, under the same
knobs?
"""

import json
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gpu_timing_assets.core.errors import IncomparableRunsError
from gpu_timing_assets.core.run import RealRunMeta, SimRunMeta

# Knobs that may differ between a real run and a simulation of it without making the figures
# meaningless: they are listed in the report. Every other knob must be equal.
LISTED_ONLY = ("attention_backend_version", "comparable_under_load", "device_name", "other")
KV_BLOCKS = "num_kv_blocks"
IDENTITY = ("workload_id", "workload_sha256", "model", "hardware")


@dataclass(frozen=True)
class Mismatch:
    """One knob that differs between the first real run and another run. `hard` ones refuse the
    comparison.
    """

    run_id: str
    knob: str
    real: str
    other: str
    hard: bool

    @property
    def text(self) -> str:
        return f"{self.knob} is {self.real} in the real run, {self.other} in {self.run_id}"


def parity(
    real: list[RealRunMeta], simulated: list[SimRunMeta], kv_blocks_tolerance_pct: float = 0.0
) -> list[Mismatch]:
    """Every knob that differs from the first real run's, of the other real runs and of the
    simulations, in that order.

    Held against each other: workload and its hash, model, hardware, and everything in `params`
    (dimensions, dtype, engine version, scheduler knobs, KV blocks, attention backend, CUDA graphs,
    TP). A knob that one side does not record counts as different: what was not simulated cannot be
    assumed equal. KV blocks that differ by no more than the tolerance are listed and refuse
    nothing.
    """
    reference = real[0]
    found = []
    for other in (*real[1:], *simulated):
        # `other` holds what has no name of its own here; repeats of a real run must agree even
        # there
        listed_only = LISTED_ONLY if isinstance(other, SimRunMeta) else ("comparable_under_load",)
        pairs: list[tuple[str, Any, Any]] = [
            (name, getattr(reference, name), getattr(other, name)) for name in IDENTITY
        ]
        if isinstance(other, RealRunMeta):
            pairs.append(("backend", reference.backend, other.backend))
        ours, theirs = (
            _flat(reference.params.model_dump(mode="json")),
            _flat(other.params.model_dump(mode="json")),
        )
        if isinstance(other, SimRunMeta):
            ours = {
                key: value
                for key, value in ours.items()
                if not key.startswith("other.") or key in theirs
            }
        absent = object()
        # a null knob is one that its side had nothing to record for
        held = [
            (key, ours.get(key, absent), theirs.get(key, absent))
            for key in sorted(ours.keys() | theirs.keys())
        ]
        pairs += [
            (key, one, two)
            for key, one, two in held
            if not (one in (absent, None) and two in (absent, None))
        ]
        for knob, one, two in pairs:
            if one is absent or two is absent or one != two:
                show = ["not recorded" if value is absent else _show(value) for value in (one, two)]
                close = knob == KV_BLOCKS and _within(one, two, kv_blocks_tolerance_pct)
                hard = not close and knob.split(".")[0] not in listed_only
                found.append(Mismatch(other.run_id, knob, show[0], show[1], hard))
    return found


def _within(one: Any, two: Any, tolerance_pct: float) -> bool:
    return (
        isinstance(one, int)
        and isinstance(two, int)
        and one > 0
        and 100 * abs(two - one) / one <= tolerance_pct
    )


def gate(
    real: list[RealRunMeta],
    simulated: list[SimRunMeta],
    *,
    allow_mismatch: bool,
    kv_blocks_tolerance_pct: float = 0.0,
) -> tuple[list[str], list[str]]:
    """`(overridden, listed)`: what would have refused the comparison, and what differs but does not
    matter.

    Raises `IncomparableRunsError` naming every knob that refuses it, unless `allow_mismatch`.
    """
    found = parity(real, simulated, kv_blocks_tolerance_pct)
    overridden = [
        f"{meta.run_id} is invalid: {_reasons(meta)}" for meta in real if meta.status == "invalid"
    ]
    overridden += [mismatch.text for mismatch in found if mismatch.hard]
    if overridden and not allow_mismatch:
        raise IncomparableRunsError(
            f"the runs are not comparable: {'; '.join(overridden)}. Run the side that is wrong "
            f"again, or compare them "
            "nevertheless with comparison.allow_mismatch=true"
        )
    return overridden, [mismatch.text for mismatch in found if not mismatch.hard]


@dataclass(frozen=True)
class Sifted:
    """`kept` are the positions of the simulations that are compared; `left_out` says of each other
    one why not.
    """

    kept: tuple[int, ...]
    overridden: list[str]
    listed: list[str]
    left_out: list[str]


def sift(
    real: list[RealRunMeta],
    simulated: list[SimRunMeta],
    *,
    allow_mismatch: bool,
    kv_blocks_tolerance_pct: float = 0.0,
) -> Sifted:
    """Pass the gate with the simulation that is judged; leave out what else it refuses.

    An old simulation of another predictor then does not stand in the way of the one that is judged.
    Raises `IncomparableRunsError` if the judged one is refused, the real runs disagree, or every
    simulation is a substituted one.
    """
    judged = judged_simulation(simulated)
    gate(
        real,
        [simulated[judged]],
        allow_mismatch=allow_mismatch,
        kv_blocks_tolerance_pct=kv_blocks_tolerance_pct,
    )
    kept, left_out = [], []
    for position, meta in enumerate(simulated):
        refused = [
            mismatch
            for mismatch in parity(real[:1], [meta], kv_blocks_tolerance_pct)
            if mismatch.hard
        ]
        if refused and not allow_mismatch:
            left_out.append(
                f"{meta.run_id} is left out, it is not comparable: "
                f"{'; '.join(mismatch.text for mismatch in refused)}"
            )
        else:
            kept.append(position)
    overridden, listed = gate(
        real,
        [simulated[position] for position in kept],
        allow_mismatch=allow_mismatch,
        kv_blocks_tolerance_pct=kv_blocks_tolerance_pct,
    )
    return Sifted(tuple(kept), overridden, listed, left_out)


def judged_simulation(simulated: list[SimRunMeta]) -> int:
    """The position of the simulation that is judged: the plain one of predictor
    `engine_loop`, otherwise the first plain one.

    Raises `IncomparableRunsError` if there is no plain one.
    """
    plain = [position for position, meta in enumerate(simulated) if not meta.substitution]
    if not plain:
        raise IncomparableRunsError(
            "every simulation given has a part of the real run substituted, which judges nothing: "
            "add a plain one (`vidur-sim` with simulator.substitution=null)"
        )
    return next(
        (position for position in plain if simulated[position].predictor == "engine_loop"),
        plain[0],
    )


def _reasons(meta: RealRunMeta) -> str:
    return "; ".join(meta.invalid_reasons) or "no reason given"


def parity_table(
    real: list[RealRunMeta],
    simulated: list[SimRunMeta],
    kv_blocks_tolerance_pct: float = 0.0,
) -> pd.DataFrame:
    """Every knob of every run beside the first real run's: the content of `tables/parity.csv`."""
    wrong = {
        (m.run_id, m.knob): ("refuses" if m.hard else "listed")
        for m in parity(real, simulated, kv_blocks_tolerance_pct)
    }
    rows = []
    reference = {
        **{name: getattr(real[0], name) for name in IDENTITY},
        **_flat(real[0].params.model_dump(mode="json")),
    }
    for run in (*real, *simulated):
        values = {
            **{name: getattr(run, name) for name in IDENTITY},
            **_flat(run.params.model_dump(mode="json")),
        }
        for knob in [*IDENTITY, *sorted((reference.keys() | values.keys()) - set(IDENTITY))]:
            held = knob in reference and knob in values
            rows.append(
                (
                    run.run_id,
                    "real" if run.run_type == "real" else "simulated",
                    knob,
                    _show(values[knob]) if knob in values else "not recorded",
                    _show(reference[knob]) if knob in reference else "not recorded",
                    wrong.get((run.run_id, knob), "equal" if held else "not held against"),
                )
            )
    return pd.DataFrame(
        rows, columns=["run_id", "side", "knob", "value", "first_real_run", "parity"]
    )


def _flat(params: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _show(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"

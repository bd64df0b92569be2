"""Which simulations are compared: the judged one, and what else is comparable."""

from dataclasses import dataclass

from gpu_timing_assets.compare.gate.settings import differences
from gpu_timing_assets.config.comparison import ComparisonPreset
from gpu_timing_assets.core.errors import IncomparableRunsError
from gpu_timing_assets.core.run import RealRunMeta, SimRunMeta


@dataclass(frozen=True)
class Admission:
    """`judged` and `admitted` are positions of simulations; `left_out` says of each other one why.

    `overridden` would have refused the comparison; `listed` differs and refuses nothing.
    """

    judged: int
    admitted: tuple[int, ...]
    overridden: list[str]
    listed: list[str]
    left_out: list[str]


def admit(
    real: list[RealRunMeta], simulated: list[SimRunMeta], preset: ComparisonPreset
) -> Admission:
    """Hold every run's settings against the first real run's.

    An old simulation of another predictor then does not stand in the way of the one that is judged.
    Raises `IncomparableRunsError` if the judged one is refused, the real runs disagree, or every
    simulation is a substituted one.
    """
    judged = judged_simulation(simulated, preset.judged)
    check_settings(real, [simulated[judged]], preset)
    admitted, left_out = [], []
    for position, meta in enumerate(simulated):
        found = differences(real[:1], [meta], preset.kv_blocks_tolerance_pct)
        refused = [difference.text for difference in found if difference.refuses]
        if refused and not preset.allow_mismatch:
            left_out.append(
                f"{meta.run_id} is left out, it is not comparable: {'; '.join(refused)}"
            )
        else:
            admitted.append(position)
    overridden, listed = check_settings(real, [simulated[at] for at in admitted], preset)
    return Admission(judged, tuple(admitted), overridden, listed, left_out)


def check_settings(
    real: list[RealRunMeta], simulated: list[SimRunMeta], preset: ComparisonPreset
) -> tuple[list[str], list[str]]:
    """`(overridden, listed)`: what would have refused the comparison, and what differs but does not
    matter.

    Raises `IncomparableRunsError` naming every setting that refuses it, unless
    `preset.allow_mismatch`.
    """
    found = differences(real, simulated, preset.kv_blocks_tolerance_pct)
    overridden = [
        f"{meta.run_id} is invalid: {'; '.join(meta.invalid_reasons) or 'no reason given'}"
        for meta in real
        if meta.status == "invalid"
    ]
    overridden += [difference.text for difference in found if difference.refuses]
    if overridden and not preset.allow_mismatch:
        raise IncomparableRunsError(
            f"the runs are not comparable: {'; '.join(overridden)}. Run the side that is wrong "
            "again, or compare them nevertheless with comparison.allow_mismatch=true"
        )
    return overridden, [difference.text for difference in found if not difference.refuses]


def judged_simulation(simulated: list[SimRunMeta], name: str) -> int:
    """The position of the simulation that is judged: of the plain ones of that time model the one
    at the runs' host speed, if it is there; without that model the first plain one.

    Raises `IncomparableRunsError` if there is no plain one.
    """
    plain = [position for position, meta in enumerate(simulated) if not meta.substitution]
    if not plain:
        raise IncomparableRunsError(
            "every simulation given has a part of the real run substituted, which judges nothing: "
            "add a plain one (`vidur-sim` with simulator.substitution=null)"
        )
    named = [at for at in plain if simulated[at].model_name == name]
    corrected = [at for at in named if simulated[at].host_ratio is not None]
    return (corrected or named or plain)[0]

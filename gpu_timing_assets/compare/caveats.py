"""What a reader must know before the figures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gpu_timing_assets.compare.explain.host_speed import HOST_SPEED, host_note
from gpu_timing_assets.compare.findings import Findings
from gpu_timing_assets.compare.gate.admission import Admission
from gpu_timing_assets.compare.gate.align import Aligned
from gpu_timing_assets.compare.show.text import signed_pct, unsigned_pct
from gpu_timing_assets.config.comparison import ComparisonPreset
from gpu_timing_assets.core.comparison import VerdictRow
from gpu_timing_assets.core.run import SimRunMeta
from gpu_timing_assets.metrics.metric import Metric


@dataclass(frozen=True)
class Caveats:
    """`overridden` would have refused the comparison; `listed` differs and refuses nothing; `notes`
    are what stands above the figures, the overridden ones first.
    """

    overridden: tuple[str, ...]
    listed: tuple[str, ...]
    notes: tuple[str, ...]


def caveats(
    aligned: Aligned,
    findings: Findings,
    admission: Admission,
    overridden: Sequence[str],
    preset: ComparisonPreset,
    unused: Sequence[str] = (),
) -> Caveats:
    host = host_note(findings.tables[HOST_SPEED])
    notes = (
        *(*overridden, *admission.left_out),
        *(f"found and not used: {run}" for run in unused),
        *_about_noise(findings.verdicts, preset),
        *([host] if host else []),
        *_about_requests(aligned),
        *_about_simulations(aligned, findings.metrics),
        *_about_bundles(aligned),
        *_about_repeats(aligned),
    )
    return Caveats(tuple(overridden), tuple(admission.listed), notes)


def _about_noise(verdicts: Sequence[VerdictRow], preset: ComparisonPreset) -> Iterator[str]:
    noise = [row.noise_pct for row in verdicts if row.noise_pct is not None and row.unit == "ms"]
    if noise and np.median(noise) > preset.warn_pct:
        yield (
            f"the real runs themselves differ by {np.median(noise):.0f} % (median of the "
            f"latencies' statistics, at most {max(noise):.0f} %): an error below that says little "
            "about the simulation"
        )


def _about_requests(aligned: Aligned) -> Iterator[str]:
    failed: set[int] = set()
    for run in aligned.runs:
        failed.update(run.requests.loc[run.requests["status"] != "ok", "request_id"])
    if failed:
        what = (
            "1 request failed in a run and is"
            if len(failed) == 1
            else f"{len(failed)} requests failed in a run and are"
        )
        yield f"{what} left out of every run: see tables/excluded_requests.csv"
    made = [real.run.requests["num_decode_tokens_actual"].to_numpy() for real in aligned.real]
    if any((other != made[0])[(other > 0) & (made[0] > 0)].any() for other in made[1:]):
        yield "the real runs made different numbers of tokens: each request is cut to the fewest"


def _about_simulations(aligned: Aligned, metrics: Sequence[Metric]) -> Iterator[str]:
    for simulation in (*aligned.simulated, *aligned.substituted):
        meta = simulation.run.meta
        if isinstance(meta, SimRunMeta) and meta.extrapolated:
            yield (
                f"{simulation.label} reached beyond what its profiling bundle measured: its times "
                "there are extrapolated"
            )
        if isinstance(meta, SimRunMeta) and meta.host_ratio is not None and not meta.substitution:
            yield (
                f"{simulation.label} takes {meta.host_ratio:.2f} times as long for everything that "
                "the engine's host does as the profile says: that is what a fixed probe took "
                "beside the real runs, of what the profile's bursts say of its steps"
            )
        missing = [metric.name for metric in metrics if not metric.is_given_by(simulation)]
        if missing:
            yield (
                f"{simulation.label} gives no times between a request's first and last token: "
                f"{', '.join(missing)} of it is undefined"
            )


def _about_bundles(aligned: Aligned) -> Iterator[str]:
    metas = [simulation.run.meta for simulation in aligned.simulated]
    yield from dict.fromkeys(
        f"the bundle of {meta.label} did not pass: {'; '.join(meta.bundle_failed_checks)}"
        for meta in metas
        if isinstance(meta, SimRunMeta) and meta.bundle_failed_checks
    )
    yield from dict.fromkeys(
        _about_bundle(meta.bundle_measured_at, meta.self_test_error_pct, meta.prediction_spread_pct)
        for meta in metas
        if isinstance(meta, SimRunMeta) and meta.self_test_error_pct is not None
    )


def _about_bundle(
    measured_at: str | None, error_pct: dict[str, float], spread_pct: dict[str, float] | None
) -> str:
    if not error_pct:
        return (
            f"the bundle measured at {measured_at or 'an unknown time'} was not tested on bursts "
            "that no fit has seen: profile again (`vidur-profile --force`) to know its errors there"
        )
    errors = ", ".join(f"{name} {signed_pct(error)}" for name, error in error_pct.items())
    spread = ", ".join(f"{name} {unsigned_pct(pct)}" for name, pct in (spread_pct or {}).items())
    return (
        f"the bundle simulates bursts that it was not fitted on with errors of {errors} (measured "
        f"at {measured_at or 'an unknown time'})"
        + (f"; two bundles of this machine predict these bursts within {spread}" if spread else "")
    )


def _about_repeats(aligned: Aligned) -> Iterator[str]:
    if len(aligned.real) == 1:
        yield (
            "there is one real run, so no noise is known: repeat it to see whether an error is real"
        )

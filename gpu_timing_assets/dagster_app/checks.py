"""The assets' checks: named here, to be seen before anything ran; judged by the stages."""

import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from gpu_timing_assets.compare.checks import check_names
from gpu_timing_assets.dagster_app.partitions import WORKLOADS

if TYPE_CHECKING:
    from gpu_timing_assets.compare import ComparisonResult
    from gpu_timing_assets.core.bundle import BundleMeta
    from gpu_timing_assets.core.run import RealRunMeta

RUNS_VALID = "runs_valid"
BUNDLE_QUALITY = "bundle_quality"


def comparison_check_specs() -> list[dg.AssetCheckSpec]:
    return [_spec(name, "comparison", what) for name, what in check_names().items()]


def _spec(name: str, asset: str, description: str, *, blocking: bool = False) -> dg.AssetCheckSpec:
    """A check whose outcome belongs to the workload that was judged, not to the last one alone."""
    with warnings.catch_warnings():  # on every load, about `partitions_def`
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(
            name, asset=asset, description=description, blocking=blocking, partitions_def=WORKLOADS
        )


def comparison_check_results(result: "ComparisonResult") -> Iterator[dg.AssetCheckResult]:
    from gpu_timing_assets.compare import check_outcomes

    for outcome in check_outcomes(result):
        yield dg.AssetCheckResult(
            check_name=outcome.name,
            passed=outcome.passed,
            description=outcome.description,
            metadata=outcome.metadata,
            severity=dg.AssetCheckSeverity.ERROR
            if outcome.severity == "error"
            else dg.AssetCheckSeverity.WARN,
        )


def bundle_check_specs() -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            BUNDLE_QUALITY,
            asset="profiling_bundle",
            description="Timings repeat, the fits hold on points that were left out of them, no "
            "kernel was missed, and bursts that no fit has seen are simulated within the preset's "
            "bound: an error if they are not, since nothing may be simulated then.",
        )
    ]


def bundle_check_result(meta: "BundleMeta") -> dg.AssetCheckResult:
    failed = meta.failed_checks
    return dg.AssetCheckResult(
        check_name=BUNDLE_QUALITY,
        passed=not failed,
        severity=dg.AssetCheckSeverity.ERROR if meta.refusal else dg.AssetCheckSeverity.WARN,
        description="; ".join(failed)
        or f"{len(meta.quality)} of {len(meta.quality)} quality checks passed",
        metadata={name: str(check.value) for name, check in meta.quality.items()},
    )


def real_run_check_specs() -> list[dg.AssetCheckSpec]:
    # blocking: without one valid run there is nothing to compare with
    return [
        _spec(
            RUNS_VALID,
            "real_run",
            "Requests were submitted on time and all were served; an error if in no repeat.",
            blocking=True,
        )
    ]


def real_run_check_result(metas: Sequence["RealRunMeta"]) -> dg.AssetCheckResult:
    invalid = [meta for meta in metas if meta.status != "complete"]
    reasons = sorted({reason for meta in invalid for reason in meta.invalid_reasons})
    return dg.AssetCheckResult(
        check_name=RUNS_VALID,
        passed=not invalid,
        severity=dg.AssetCheckSeverity.ERROR
        if len(invalid) == len(metas)
        else dg.AssetCheckSeverity.WARN,
        description="; ".join(reasons) or f"{len(metas)} of {len(metas)} repeats are valid",
        metadata={"repeats": len(metas), "invalid_repeats": len(invalid)},
    )

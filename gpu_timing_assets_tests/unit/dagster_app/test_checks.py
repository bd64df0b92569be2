"""Checks belong to the workload that was judged, and a real run without a valid repeat stops what
lies below it.
"""

import dagster as dg
import pytest

from gpu_timing_assets.compare.checks import check_names
from gpu_timing_assets.core.bundle import BUNDLE_META_FILE, BundleMeta, QualityCheck
from gpu_timing_assets.core.data_root import REFERENCE_DATA
from gpu_timing_assets.core.files import read_metadata
from gpu_timing_assets.core.run import RealRunMeta, read_complete_run
from gpu_timing_assets.dagster_app.checks import (
    RUNS_VALID,
    bundle_check_result,
    comparison_check_specs,
    real_run_check_result,
    real_run_check_specs,
)
from gpu_timing_assets.dagster_app.partitions import WORKLOADS


def meta(status: str, *reasons: str) -> RealRunMeta:
    measured = next((REFERENCE_DATA / "h100" / "real_runs").iterdir())
    changes = {"status": status, "invalid_reasons": reasons}
    return read_complete_run(measured, RealRunMeta).model_copy(update=changes)


@pytest.mark.parametrize(
    ("metas", "passed", "severity"),
    [
        ([meta("complete"), meta("complete")], True, None),
        ([meta("complete"), meta("invalid", "late")], False, dg.AssetCheckSeverity.WARN),
        ([meta("invalid", "late"), meta("invalid", "late")], False, dg.AssetCheckSeverity.ERROR),
    ],
)
def test_a_real_run_is_judged_by_its_repeats(
    metas: list[RealRunMeta], passed: bool, severity: dg.AssetCheckSeverity | None
):
    result = real_run_check_result(metas)
    assert result.passed is passed
    if severity is not None:
        assert result.severity == severity
        assert result.description == "late"


@pytest.mark.parametrize(
    ("metas", "goes_on"),
    [([meta("complete"), meta("invalid")], True), ([meta("invalid", "late")], False)],
)
def test_what_lies_below_waits_for_one_valid_repeat(metas: list[RealRunMeta], goes_on: bool):
    ran = []

    @dg.asset(partitions_def=WORKLOADS, check_specs=real_run_check_specs())
    def real_run() -> dg.MaterializeResult:
        return dg.MaterializeResult(check_results=[real_run_check_result(metas)])

    @dg.asset(partitions_def=WORKLOADS, deps=[real_run])
    def comparison() -> None:
        ran.append("comparison")

    key = WORKLOADS.get_partition_keys()[0]
    result = dg.materialize([real_run, comparison], partition_key=key, raise_on_error=False)
    assert result.success is goes_on
    assert bool(ran) is goes_on
    evaluation = result.get_asset_check_evaluations()[0]
    assert evaluation.check_name == RUNS_VALID
    assert evaluation.partition == key


@pytest.mark.parametrize(
    ("check", "severity"),
    [("self_test", dg.AssetCheckSeverity.ERROR), ("spread", dg.AssetCheckSeverity.WARN)],
)
def test_a_bundle_that_fails_its_self_test_is_an_error_and_says_why(
    check: str, severity: dg.AssetCheckSeverity
):
    file = min((REFERENCE_DATA / "h100" / "vidur_profiling").rglob(BUNDLE_META_FILE))
    what = "of the layers alone the farthest off is host, by -30.0 %"
    failed = QualityCheck(passed=False, value=-31.2, bound=15.0, what=what)
    bundle = read_metadata(file, BundleMeta).model_copy(update={"quality": {check: failed}})
    result = bundle_check_result(bundle)
    assert not result.passed
    assert result.severity == severity
    assert result.description == f"{check}: {what}"
    assert result.metadata[check].value == "-31.2"


def test_every_outcome_of_the_comparison_has_a_described_check():
    specs = comparison_check_specs()
    assert [spec.name for spec in specs] == list(check_names())
    assert all(spec.description and not spec.blocking for spec in specs)

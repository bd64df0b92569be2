"""What the page shows of a run and of a bundle, from measured ones of the reference."""

from typing import Any

import dagster as dg
import pytest

from gpu_timing_assets.core.bundle import (
    BUNDLE_META_FILE,
    BundleMeta,
    Repeatability,
    SelfTest,
    TimeFit,
)
from gpu_timing_assets.core.data_root import REFERENCE_DATA
from gpu_timing_assets.core.files import read_metadata
from gpu_timing_assets.core.run import RealRunMeta, read_complete_run
from gpu_timing_assets.core.tables.invariants import read_run_tables
from gpu_timing_assets.dagster_app.descriptions.bundle import describe_bundle
from gpu_timing_assets.dagster_app.descriptions.run import describe_real_runs, latency_entries
from gpu_timing_assets.dagster_app.execution.stage import StageClock

RUN = min((REFERENCE_DATA / "h100" / "real_runs").glob("chats_12--qwen3-0.6b--*-r0"))
BUNDLE = min((REFERENCE_DATA / "h100" / "vidur_profiling").rglob(BUNDLE_META_FILE))


def shown_of_a_bundle(**changes: object) -> dict[str, Any]:
    meta = read_metadata(BUNDLE, BundleMeta).model_copy(update=changes)
    return describe_bundle(meta, BUNDLE.parent, StageClock(2.0))


def rows(table: dg.TableMetadataValue) -> list[dict[str, Any]]:
    return [dict(record.data) for record in table.records]


def test_a_real_runs_numbers_are_those_of_its_metadata():
    meta = read_complete_run(RUN, RealRunMeta)
    shown = describe_real_runs([RUN], [meta], StageClock(2.0))
    assert shown["ttft_p50_ms"] == pytest.approx(meta.ttft_ms.p50, abs=0.01)
    assert shown["itl_p99_ms"] == pytest.approx(meta.itl_ms.p99, abs=0.01)
    assert shown["requests_failed"] == meta.num_failed
    assert shown["output_tokens_per_s"] > 0
    assert shown["stage_seconds"] == 2.0


def test_the_hosts_probes_stand_beside_each_repeat_that_has_them():
    meta = read_complete_run(RUN, RealRunMeta)
    assert meta.probe_before
    shown = describe_real_runs([RUN], [meta], StageClock(2.0))
    before, after = rows(shown["host_probes"])
    assert (before["when"], after["when"]) == ("before", "after")
    assert before["decode_8_ms"] == pytest.approx(meta.probe_before.decode_8_ms, abs=0.01)
    without = meta.model_copy(update={"probe_before": None, "probe_after": None})
    assert "host_probes" not in describe_real_runs([RUN], [without], StageClock(2.0))


def test_a_run_without_times_of_its_tokens_has_no_itl():
    requests, _ = read_run_tables(RUN)
    assert {name.partition("_")[0] for name in latency_entries(requests, None)} == {"ttft", "e2e"}


def test_a_bundles_self_test_is_a_table_of_errors_and_one_of_layers():
    errors, layers = {"ITL p50": 1.25, "TTFT p90": -8.0}, {"host": 0.5, "GPU, decode": -1.0}
    tested = SelfTest(bursts=3, requests=40, error_pct=errors, layers_pct=layers)
    shown = shown_of_a_bundle(self_test=tested, repeatability=None)
    assert rows(shown["self_test"]) == [
        {"statistic": "ITL p50", "error_pct": 1.25},
        {"statistic": "TTFT p90", "error_pct": -8.0},
    ]
    assert [row["layer"] for row in rows(shown["self_test_layers"])] == list(layers)
    assert shown["self_test_error_pct_itl_p50"] == 1.25
    assert "prediction_spread" not in shown


def test_a_bundle_that_was_measured_twice_shows_the_spread():
    found = Repeatability(measured_at=("2026-01-01", "2026-01-02"), spread_pct={"E2E p50": 0.75})
    shown = shown_of_a_bundle(repeatability=found)
    assert rows(shown["prediction_spread"]) == [{"statistic": "E2E p50", "spread_pct": 0.75}]
    assert shown["repeated_at"] == "2026-01-01, 2026-01-02"
    assert shown["prediction_spread_pct_e2e_p50"] == 0.75


def test_each_part_of_a_bundles_time_model_shows_what_it_rests_on():
    fits = {
        "schedule": TimeFit(rows=100, residual_pct=5.5, interval_pct=1.5),
        "factor: decode": TimeFit(rows=9, residual_pct=0.5, interval_pct=0.25, factor=1.0125),
    }
    host, factor = rows(shown_of_a_bundle(fits=fits)["time_fits"])
    assert (host["part"], host["rows"], host["interval_pct"]) == ("schedule", 100, 1.5)
    assert (host["factor"], factor["factor"]) == ("", "1.0125")


def test_an_older_bundle_shows_what_it_has():
    shown = shown_of_a_bundle(self_test=None, repeatability=None)
    assert not {"self_test", "prediction_spread"} & shown.keys()
    medians = [
        error.median for error in read_metadata(BUNDLE, BundleMeta).fitted_error_pct.values()
    ]
    assert shown["worst_fitted_error_pct"] == max(medians)

"""What the page shows of a run, from a measured one of the reference."""

import pytest

from gpu_timing_assets.core.data_root import REFERENCE_DATA
from gpu_timing_assets.core.run import RealRunMeta, read_complete_run
from gpu_timing_assets.core.tables.invariants import read_run_tables
from gpu_timing_assets.dagster_app.descriptions.run import describe_real_runs, latency_entries
from gpu_timing_assets.dagster_app.execution.stage import StageClock

RUN = min((REFERENCE_DATA / "h100" / "real_runs").glob("mix_rate_40--qwen3-0.6b--*-r0"))


def test_a_real_runs_numbers_are_those_of_its_metadata():
    meta = read_complete_run(RUN, RealRunMeta)
    shown = describe_real_runs([RUN], [meta], StageClock(2.0))
    assert shown["ttft_p50_ms"] == pytest.approx(meta.ttft_ms.p50, abs=0.01)
    assert shown["itl_p99_ms"] == pytest.approx(meta.itl_ms.p99, abs=0.01)
    assert shown["requests_failed"] == meta.num_failed
    assert shown["output_tokens_per_s"] > 0
    assert shown["stage_seconds"] == 2.0


def test_a_run_without_times_of_its_tokens_has_no_itl():
    requests, _ = read_run_tables(RUN)
    assert {name.partition("_")[0] for name in latency_entries(requests, None)} == {"ttft", "e2e"}

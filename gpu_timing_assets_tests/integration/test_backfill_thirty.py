"""Thirty partitions through the queued run coordinator, two runs at a time, with an engine that
answers at once.
"""

from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest

from gpu_timing_assets.core.run import RealRunMeta, read_complete_run
from gpu_timing_assets.core.workload import read_complete_workload
from gpu_timing_assets_tests.integration.dagster_page import dagster_page, wait_until
from gpu_timing_assets_tests.integration.many_workloads import project_with_workloads

COUNT = 30


@pytest.mark.slow
def test_thirty_partitions(tmp_path: Path):
    project, workloads = project_with_workloads(tmp_path, COUNT)
    target = "hardware=cpu hardware.repeats=1 hardware.max_lateness_p99_ms=5000 backend=null_engine"
    with dagster_page(tmp_path, project=project, GPU_TIMING_TARGET=target) as page:
        backfill = page.backfill(["workload_spec", "real_run"], workloads)
        most_runs = most_slots = 0

        def ended() -> bool:
            nonlocal most_runs, most_slots
            most_runs = max(
                most_runs,
                page.instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])),
            )
            most_slots = max(most_slots, page.held_slots("cpu"))
            return page.backfill_status(backfill) not in ("REQUESTED", "COMPLETING")

        wait_until(ended, 1500, "the backfill of 30 partitions", 0.5)
        assert page.backfill_status(backfill) == "COMPLETED_SUCCESS"
        runs = page.instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": backfill}))
        assert len(runs) == COUNT
        assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
        assert most_runs == 2
        assert most_slots == 1
        spans = sorted(
            (step.start_time, step.end_time)
            for run in runs
            for step in page.instance.get_run_step_stats(run.run_id)
            if step.step_key == "real_run"
        )
        assert all(end <= begin for (_, end), (begin, _) in pairwise(spans)), "two engines at once"
        for workload_id in workloads:
            workload = read_complete_workload(page.data / "workloads" / workload_id)
            found = list((page.data / "real_runs").glob(f"{workload_id}--*"))
            assert len(found) == 1
            assert (
                read_complete_run(found[0], RealRunMeta).workload_sha256 == workload.workload_sha256
            )
        assert page.held_slots("cpu") == 0
        assert not page.started_processes(), page.describe_started()
        assert "database is locked" not in (tmp_path / "page.log").read_text()

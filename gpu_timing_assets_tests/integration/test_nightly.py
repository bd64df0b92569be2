"""The nightly backfill lived through: switched on in the page, ticked by the daemon's own clock, on
the CPU engine.
"""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from gpu_timing_assets.core.run import RealRunMeta, read_complete_run
from gpu_timing_assets_tests.integration.dagster_page import (
    LOCATION,
    DagsterPage,
    dagster_page,
    wait_until,
)
from gpu_timing_assets_tests.integration.many_workloads import project_with_workloads

TARGET = "hardware=cpu hardware.repeats=1 hardware.max_lateness_p99_ms=5000"
PARTITIONED = ("workload_spec", "real_run", "sim_run", "sim_run_at_host_speed", "comparison")
START = """mutation($selector: SensorSelector!) { startSensor(sensorSelector: $selector) {
  __typename ... on Sensor { sensorState { status } } ... on PythonError { message } } }"""
BACKFILLS = """{ partitionBackfillsOrError { ... on PartitionBackfills { results { id status
  assetSelection { path } } } } }"""


@pytest.mark.slow
@pytest.mark.engine
def test_a_tick_makes_one_backfill_of_all_that_is_missing_and_the_next_ones_none(tmp_path: Path):
    project, workloads = project_with_workloads(tmp_path, 2, only=True)
    with dagster_page(
        tmp_path, project=project, GPU_TIMING_TARGET=TARGET, GPU_TIMING_BACKFILL_CRON="* * * * *"
    ) as page:
        started = page.graphql(START, selector={**LOCATION, "sensorName": "nightly_backfill"})[
            "startSensor"
        ]
        assert started["sensorState"]["status"] == "RUNNING", started
        wait_until(lambda: backfills(page), 150, "the first tick's backfill")
        [made] = backfills(page)
        assert {key["path"][-1] for key in made["assetSelection"]} >= {
            *PARTITIONED,
            "profiling_bundle",
        }
        wait_until(
            lambda: page.backfill_status(made["id"]) not in ("REQUESTED", "COMPLETING"),
            600,
            "the backfill's end",
        )
        assert page.backfill_status(made["id"]) == "COMPLETED_SUCCESS"
        for asset in PARTITIONED:
            assert page.instance.get_materialized_partitions(dg.AssetKey(asset)) == set(workloads)
        for workload_id in workloads:
            [run] = (page.data / "real_runs").glob(f"{workload_id}--*")
            assert read_complete_run(run, RealRunMeta).workload_sha256
            assert list((page.data / "comparisons").glob(f"{workload_id}--*/report.html"))
        wait_until(lambda: matrix_rows(page) == 2, 120, "the matrix of both comparisons")
        ticks = count_ticks(page)
        wait_until(lambda: count_ticks(page) >= ticks + 5, 240, "two more minutes of ticks")
        assert [
            found["id"] for found in backfills(page) if "real_run" in str(found["assetSelection"])
        ] == [made["id"]]


def backfills(page: DagsterPage) -> list[dict[str, Any]]:
    return list(page.graphql(BACKFILLS)["partitionBackfillsOrError"]["results"])


def matrix_rows(page: DagsterPage) -> int:
    table = page.data / "fidelity_matrix" / "tables" / "comparisons.csv"
    return len(table.read_text().splitlines()) - 1 if table.exists() else 0


def count_ticks(page: DagsterPage) -> int:
    state = next(
        state for state in page.instance.all_instigator_state() if state.name == "nightly_backfill"
    )
    return len(page.instance.get_ticks(state.instigator_origin_id, state.selector_id))

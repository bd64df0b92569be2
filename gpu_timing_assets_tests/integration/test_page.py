"""What a person does on the page, through the page's own GraphQL, with an engine that answers at
once.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import psutil
import pytest

from gpu_timing_assets.core.run import RealRunMeta, read_complete_run
from gpu_timing_assets_tests.integration.dagster_page import (
    ASSET,
    CHECKS,
    LAUNCH,
    LOCATION,
    DagsterPage,
    dagster_page,
    wait_until,
)
from gpu_timing_assets_tests.integration.many_workloads import project_with_workloads

ASSETS = ["workload_spec", "real_run"]


@pytest.fixture(scope="module")
def page_and_workloads(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[DagsterPage, list[str]]]:
    folder: Path = tmp_path_factory.mktemp("page")
    project, workloads = project_with_workloads(folder, 4)
    # the tests share their cores: how late a submission may be is judged elsewhere
    target = "hardware=cpu hardware.repeats=2 hardware.max_lateness_p99_ms=5000 backend=null_engine"
    with dagster_page(folder, project=project, GPU_TIMING_TARGET=target) as page:
        yield page, workloads


@pytest.fixture(scope="module")
def materialized(page_and_workloads: tuple[DagsterPage, list[str]]) -> DagsterPage:
    page, workloads = page_and_workloads
    run_id = page.materialize(ASSETS, workloads[0])
    assert page.wait(run_id) == "SUCCESS", page.log_lines(run_id)[-5:]
    return page


def shown(page: DagsterPage, asset: str) -> dict[str, dict[str, Any]]:
    found = page.graphql(ASSET, key={"path": [asset]})["assetOrError"]["assetMaterializations"][0]
    return {entry["label"]: entry for entry in found["metadataEntries"]}


def test_the_page_shows_the_workload(materialized: DagsterPage):
    entries = shown(materialized, "workload_spec")
    assert entries["requests"]["intValue"] == 6
    assert len(entries["workload_sha256"]["text"]) == 64
    for name in ("arrivals", "prompt_lengths", "output_lengths"):
        assert entries[name]["mdStr"].startswith("![")
        assert len(entries[name]["mdStr"]) < 1000
    assert entries["stage_seconds"]["floatValue"] > 0


def test_the_page_shows_the_real_run(materialized: DagsterPage):
    entries = shown(materialized, "real_run")
    table = entries["latencies"]["table"]
    assert {"run", "status", "ttft_p50_ms", "itl_p99_ms"} <= {
        column["name"] for column in table["schema"]["columns"]
    }
    assert len(table["records"]) == 2
    for number in (
        "ttft_p50_ms",
        "ttft_p99_ms",
        "itl_p50_ms",
        "e2e_p99_ms",
        "lateness_p99_ms",
        "output_tokens_per_s",
    ):
        assert entries[number]["floatValue"] >= 0
    assert entries["engine"]["text"].startswith("null_engine")
    assert Path(entries["directory"]["path"]).is_dir()


def test_the_page_shows_the_checks(materialized: DagsterPage):
    node = materialized.graphql(CHECKS, key={"path": ["real_run"]})["assetNodeOrError"]
    checks = {
        check["name"]: check["executionForLatestMaterialization"]
        for check in node["assetChecksOrError"]["checks"]
    }
    assert checks["runs_valid"]["status"] == "SUCCEEDED"
    assert checks["runs_valid"]["evaluation"]["description"] == "2 of 2 repeats are valid"


def test_progress_is_in_the_runs_log(materialized: DagsterPage):
    run = materialized.instance.get_runs()[0]
    lines = materialized.log_lines(run.run_id)
    assert any("requests" in line and "tokens/s" in line and "left" in line for line in lines)
    assert any(line.startswith("stage=real-bench") and "event=end" in line for line in lines)


@pytest.mark.parametrize(
    ("asset", "config", "says"),
    [
        ("real_run", {"resources": {"target": {"config": {"hardwar": "cpu"}}}}, "hardwar"),
        (
            "real_run",
            {"resources": {"target": {"config": {"overrides": {"hardware": {"repeat": 1}}}}}},
            "repeats?: Int",
        ),
        (
            "real_run",
            {"resources": {"target": {"config": {"overrides": {"hardware": {"repeats": 0}}}}}},
            "hardware.repeats",
        ),
        ("sim_run", {"ops": {"sim_run": {"config": {"overrides": {"sead": 1}}}}}, "seed?: Int"),
    ],
)
def test_a_wrong_key_is_refused_before_anything_starts(
    materialized: DagsterPage, asset: str, config: dict[str, Any], says: str
):
    before = materialized.instance.get_runs_count()
    answer = materialized.graphql(
        LAUNCH,
        params={
            "selector": {
                **LOCATION,
                "pipelineName": "__ASSET_JOB",
                "assetSelection": [{"path": [asset]}],
            },
            "runConfigData": config,
            "mode": "default",
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": "many_00"}]},
        },
    )["launchPipelineExecution"]
    assert answer["__typename"] in ("RunConfigValidationInvalid", "PythonError")
    assert says in str(answer)
    assert materialized.instance.get_runs_count() == before


def test_a_value_out_of_its_bounds_fails_with_its_field_and_leaves_nothing(
    materialized: DagsterPage,
):
    run_id = materialized.materialize(
        ["comparison"],
        "many_00",
        {"ops": {"comparison": {"config": {"overrides": {"pass_pct": -1.0}}}}},
    )
    assert materialized.wait(run_id) == "FAILURE"
    failure = materialized.instance.get_records_for_run(
        run_id, of_type=dg.DagsterEventType.STEP_FAILURE
    ).records[0]
    metadata = (
        failure.event_log_entry.get_dagster_event().step_failure_data.user_failure_data.metadata
    )
    assert "comparison.pass_pct" in str(metadata["cause"].value)
    assert "launchpad" in str(metadata["remedy"].value)
    assert not list(materialized.data.glob("comparisons/*"))


def test_a_missing_input_names_the_remedy_and_is_not_retried(materialized: DagsterPage):
    run_id = materialized.materialize(["real_run"], "many_03")
    assert materialized.wait(run_id) == "FAILURE"
    assert not materialized.instance.get_records_for_run(
        run_id, of_type=dg.DagsterEventType.STEP_UP_FOR_RETRY
    ).records
    failure = materialized.instance.get_records_for_run(
        run_id, of_type=dg.DagsterEventType.STEP_FAILURE
    ).records[0]
    metadata = (
        failure.event_log_entry.get_dagster_event().step_failure_data.user_failure_data.metadata
    )
    assert "workload-spec workload=many_03" in str(metadata["cause"].value)
    assert "upstream" in str(metadata["remedy"].value)


def test_a_backfill_of_three_partitions_runs_to_its_end(
    page_and_workloads: tuple[DagsterPage, list[str]],
):
    page, workloads = page_and_workloads
    backfill = page.backfill(ASSETS, workloads[:3])
    most_runs = 0

    def ended() -> bool:
        nonlocal most_runs
        started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])
        most_runs = max(most_runs, page.instance.get_runs_count(started))
        assert page.held_slots("cpu") <= 1
        return page.backfill_status(backfill) not in ("REQUESTED", "COMPLETING")

    wait_until(ended, 240, "the backfill")
    assert page.backfill_status(backfill) == "COMPLETED_SUCCESS"
    assert most_runs <= 2
    for workload_id in workloads[:3]:
        found = list((page.data / "real_runs").glob(f"{workload_id}--*"))
        assert found
        for directory in found:
            assert read_complete_run(directory, RealRunMeta).workload_id == workload_id


def test_everything_listens_on_loopback_only(materialized: DagsterPage):
    family = [
        psutil.Process(materialized.process.pid),
        *psutil.Process(materialized.process.pid).children(recursive=True),
    ]
    listening = {
        connection.laddr.ip
        for process in family
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening <= {"127.0.0.1", "::1"}


def test_telemetry_is_off(materialized: DagsterPage):
    assert not materialized.instance.telemetry_enabled
    assert httpx.get(f"{materialized.url}/server_info", timeout=10).status_code == 200

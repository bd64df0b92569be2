"""The nightly backfill: what it selects, in which state of the history, and that it is one true
backfill.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import freeze_time

from gpu_timing_assets.dagster_app import out_of_date, partitions
from gpu_timing_assets.dagster_app.automation import (
    AFTER_COMPARISONS,
    NIGHTLY,
    SETTINGS,
    nightly_backfill,
    refresh_every_workload,
)
from gpu_timing_assets.dagster_app.out_of_date import PRESET_SHA256, preset_sha256
from gpu_timing_assets.definitions import defs

KEYS = ["chat", "code"]
WORKLOADS = dg.StaticPartitionsDefinition(KEYS)
BEFORE = datetime(2026, 11, 23, 1, 59, tzinfo=UTC)
AFTER = datetime(2026, 11, 23, 2, 1, tzinfo=UTC)
PARTITIONED = ("workload_spec", "real_run", "sim_run", "sim_run_at_host_speed", "comparison")
SIMULATED = ("sim_run", "sim_run_at_host_speed", "comparison")


class Lab:
    """The graph's shape with assets that do nothing, so that its history can be made as a test
    needs it.
    """

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.engine_version, self.bundle_version = "1", "first"
        self.cursor: dg.AssetDaemonCursor | None = None

    def definitions(self) -> dg.Definitions:
        def make(
            name: str, *deps: str, partitioned: bool = True, version: str = "1"
        ) -> dg.AssetsDefinition:
            @dg.asset(
                name=name,
                deps=list(deps),
                partitions_def=WORKLOADS if partitioned else None,
                code_version=version,
                automation_condition=AFTER_COMPARISONS if name == "fidelity_matrix" else NIGHTLY,
            )
            def made(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
                preset = (
                    {PRESET_SHA256: preset_sha256(context.partition_key)}
                    if name == "workload_spec"
                    else {}
                )
                return dg.MaterializeResult(
                    metadata=preset,
                    data_version=dg.DataVersion(
                        self.bundle_version if name == "profiling_bundle" else f"{name}"
                    ),
                )

            return made

        return dg.Definitions(
            [
                make("workload_spec"),
                make("real_run", "workload_spec", version=self.engine_version),
                make("profiling_bundle", partitioned=False, version=self.engine_version),
                make("sim_run", "workload_spec", "profiling_bundle"),
                make("sim_run_at_host_speed", "workload_spec", "profiling_bundle", "real_run"),
                make("comparison", "real_run", "sim_run", "sim_run_at_host_speed"),
                make("fidelity_matrix", "comparison", partitioned=False),
            ],
            sensors=[nightly_backfill],
        )

    def materialize(self, *names: str, partition: str | None = None) -> None:
        assets = list(self.definitions().assets or [])
        assert dg.materialize(
            assets, instance=self.instance, selection=list(names), partition_key=partition
        ).success

    def materialize_all(self) -> None:
        self.materialize("profiling_bundle")
        for key in KEYS:
            self.materialize(*PARTITIONED, partition=key)
        self.materialize("fidelity_matrix")

    def tick(self) -> dict[str, set[str | None]]:
        """What is requested on the tick after the cron's time, by asset."""
        found = {}
        for moment in (BEFORE, AFTER):
            result = dg.evaluate_automation_conditions(
                self.definitions(), self.instance, cursor=self.cursor, evaluation_time=moment
            )
            self.cursor = result.cursor
        for name in (*PARTITIONED, "profiling_bundle", "fidelity_matrix"):
            requested = result.get_requested_partitions(dg.AssetKey(name))
            if requested:
                found[name] = set(requested)
        return found


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    (tmp_path / "workload").mkdir()
    for key in KEYS:
        (tmp_path / "workload" / f"{key}.yaml").write_text(f"workload_id: {key}\n")
    monkeypatch.setattr(out_of_date, "PRESETS", tmp_path)
    with dg.instance_for_test() as instance:
        yield Lab(instance)


def test_on_a_fresh_machine_everything_is_requested(lab: Lab):
    assert lab.tick() == {**{name: set(KEYS) for name in PARTITIONED}, "profiling_bundle": {None}}


def test_when_all_is_made_nothing_is(lab: Lab):
    lab.materialize_all()
    assert lab.tick() == {}


def test_a_missing_partition_is_requested_alone(lab: Lab):
    lab.materialize("profiling_bundle")
    lab.materialize(*PARTITIONED, partition="chat")
    assert lab.tick() == {name: {"code"} for name in PARTITIONED}


def test_only_the_missing_asset_and_what_is_below_it(lab: Lab):
    lab.materialize("profiling_bundle")
    lab.materialize(*PARTITIONED, partition="chat")
    lab.materialize("workload_spec", "real_run", partition="code")
    assert lab.tick() == {name: {"code"} for name in SIMULATED}


def test_a_changed_preset_makes_its_workload_again(lab: Lab, tmp_path: Path):
    lab.materialize_all()
    (tmp_path / "workload" / "code.yaml").write_text("workload_id: code\nseed: 8\n")
    assert lab.tick() == {name: {"code"} for name in PARTITIONED}


def test_a_new_engine_version_measures_and_compares_again(lab: Lab):
    lab.materialize_all()
    lab.engine_version = "2"
    assert lab.tick() == {
        "profiling_bundle": {None},
        "real_run": set(KEYS),
        **{name: set(KEYS) for name in SIMULATED},
    }


def test_a_new_bundle_simulates_and_compares_again(lab: Lab):
    lab.materialize_all()
    lab.bundle_version = "second"
    lab.materialize("profiling_bundle")
    assert lab.tick() == {name: set(KEYS) for name in SIMULATED}


def test_the_same_bundle_measured_again_changes_nothing(lab: Lab):
    lab.materialize_all()
    lab.materialize("profiling_bundle")
    assert lab.tick() == {}


def test_nothing_is_requested_between_two_ticks_of_the_cron(lab: Lab):
    for moment in (AFTER, AFTER + timedelta(hours=1)):
        result = dg.evaluate_automation_conditions(
            lab.definitions(), lab.instance, cursor=lab.cursor, evaluation_time=moment
        )
        lab.cursor = result.cursor
    assert result.total_requested == 0


def test_the_sensor_makes_one_true_backfill(lab: Lab):
    """As the daemon evaluates it: run requests of the sensor are a single request for an asset
    backfill.
    """
    definitions = lab.definitions()
    results = []
    for moment in (BEFORE, AFTER):
        with freeze_time(moment):
            context = dg.build_sensor_context(
                instance=lab.instance,
                definitions=definitions,
                cursor=results[-1].cursor if results else None,
            )
            results.append(nightly_backfill.evaluate_tick(context))
    requests = results[-1].run_requests
    assert len(requests) == 1
    subset = requests[0].asset_graph_subset
    assert subset is not None
    assert subset.num_partitions_and_non_partitioned_assets == len(PARTITIONED) * len(KEYS) + 1


def test_the_settings_cron_decides(monkeypatch: pytest.MonkeyPatch):
    assert SETTINGS.backfill_cron in NIGHTLY.operands[0].name


def test_the_schedule_makes_a_run_for_each_workload():
    context = dg.build_schedule_context(
        scheduled_execution_time=AFTER, repository_def=defs.get_repository_def()
    )
    requests = refresh_every_workload.evaluate_tick(context).run_requests
    assert [
        request.partition_key for request in requests
    ] == partitions.WORKLOADS.get_partition_keys()
    assert len({request.run_key for request in requests}) == len(requests)

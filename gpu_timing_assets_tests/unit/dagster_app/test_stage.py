"""Faults of a stage in Dagster's terms: what is retried, what is not, and what a person is told."""

import errno
import re
from typing import Any

import dagster as dg
import pytest

from gpu_timing_assets.core import errors
from gpu_timing_assets.dagster_app.execution.failure_report import failure_message
from gpu_timing_assets.dagster_app.execution.remedies import REMEDIES
from gpu_timing_assets.dagster_app.execution.stage import RETRIED, stage

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type)
    and issubclass(kind, errors.GpuTimingError)
    and kind is not errors.GpuTimingError
]


def materialize(
    error: Exception | None, attempts: list[int], monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, dg.DagsterInstance]:
    monkeypatch.setattr(
        "gpu_timing_assets.dagster_app.execution.stage.RETRIED",
        {kind: (n, 0) for kind, (n, _) in RETRIED.items()},
    )

    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["chat"]))
    def measured(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        attempts.append(context.retry_number)
        with stage(context, "real-bench", target="m--cpu--vllm") as clock:
            if error is not None:
                raise error
        return dg.MaterializeResult(metadata={"stage_seconds": clock.seconds})

    instance = dg.DagsterInstance.ephemeral()
    return dg.materialize(
        [measured], partition_key="chat", instance=instance, raise_on_error=False
    ), instance


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_is_worth_it_is_retried(
    kind: type[errors.GpuTimingError], monkeypatch: pytest.MonkeyPatch
):
    attempts: list[int] = []
    result, _ = materialize(kind("the cause"), attempts, monkeypatch)
    assert not result.success
    retries = next((n for retried, (n, _) in RETRIED.items() if issubclass(kind, retried)), 0)
    assert attempts == list(range(retries + 1))


@pytest.mark.parametrize("kind", KINDS)
def test_the_failure_names_asset_partition_cause_and_remedy(
    kind: type[errors.GpuTimingError], monkeypatch: pytest.MonkeyPatch
):
    result, instance = materialize(kind("it broke in row 7"), [], monkeypatch)
    run = instance.get_run_by_id(result.run_id)
    message = failure_message(run, result.get_step_failure_events())
    assert "asset=measured partition=chat" in message
    assert "it broke in row 7" in message
    assert any(remedy in message for remedy in REMEDIES.values())
    failure = result.get_step_failure_events()[0].step_failure_data.user_failure_data
    assert failure.metadata["exit_code"].value == kind.exit_code


def test_a_full_disk_is_told_with_its_remedy_and_not_tried_again(monkeypatch: pytest.MonkeyPatch):
    attempts: list[int] = []
    result, instance = materialize(
        OSError(errno.ENOSPC, "No space left on device"), attempts, monkeypatch
    )
    message = failure_message(
        instance.get_run_by_id(result.run_id), result.get_step_failure_events()
    )
    assert "no room is left on the disk (" in message
    assert "GPU_TIMING_DATA_ROOT name a folder on another disk" in message
    assert attempts == [0]


def test_a_fault_of_the_code_is_reported_with_its_root_cause(monkeypatch: pytest.MonkeyPatch):
    result, instance = materialize(ZeroDivisionError("division by zero"), [], monkeypatch)
    message = failure_message(
        instance.get_run_by_id(result.run_id), result.get_step_failure_events()
    )
    assert "division by zero" in message


def test_a_run_whose_worker_was_killed_is_reported_too(monkeypatch: pytest.MonkeyPatch):
    result, instance = materialize(None, [], monkeypatch)
    assert "outside a step" in failure_message(instance.get_run_by_id(result.run_id), [])


def test_start_and_end_are_one_structured_line_each(monkeypatch: pytest.MonkeyPatch):
    result, instance = materialize(None, [], monkeypatch)
    lines = [
        entry.user_message
        for entry in instance.all_logs(result.run_id)
        if entry.user_message.startswith("stage=")
    ]
    assert len(lines) == 2
    facts = r"stage=real-bench workload_id=chat target=m--cpu--vllm run_id=\w{8}"
    assert re.fullmatch(facts + r" event=start attempt=0", lines[0])
    assert re.fullmatch(facts + r" event=end seconds=\d+\.\d", lines[1])
    assert (
        result.asset_materializations_for_node("measured")[0].metadata["stage_seconds"].value >= 0
    )

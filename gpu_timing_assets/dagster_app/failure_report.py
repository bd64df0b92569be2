"""One message for a failed run: which asset, which partition, why, and what to do about it."""

from collections.abc import Sequence

import dagster as dg
from dagster._utils.error import SerializableErrorInfo

PARTITION_TAG = "dagster/partition"


def failure_message(run: dg.DagsterRun, step_failures: Sequence[dg.DagsterEvent]) -> str:
    """A line for each failed step; a run that failed outside its steps (its worker was killed) says
    so.
    """
    partition = run.tags.get(PARTITION_TAG, "no partition")
    lines = [_step_line(event, partition) for event in step_failures]
    if not lines:
        lines = [
            f"partition={partition} cause='the run ended outside a step: its process was killed "
            f"or could not start' "
            "remedy='read the run's last events, then materialize again: nothing half-written is "
            "left'"
        ]
    return f"run {run.run_id[:8]} failed: " + "; ".join(lines)


def _step_line(event: dg.DagsterEvent, partition: str) -> str:
    data = event.step_failure_data
    said = data.user_failure_data.metadata if data.user_failure_data else {}
    cause = str(said["cause"].value) if "cause" in said else root_cause(data.error)
    remedy = (
        str(said["remedy"].value)
        if "remedy" in said
        else "read the step's stderr, then materialize again"
    )
    return f"asset={event.step_key} partition={partition} cause={cause!r} remedy={remedy!r}"


def root_cause(error: SerializableErrorInfo | None) -> str:
    """The first line of what began a chain of errors."""
    while error is not None and error.cause is not None:
        error = error.cause
    lines = error.message.strip().splitlines() if error else []
    return lines[0] if lines else "unknown"


@dg.run_failure_sensor(
    name="failure_report",
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Logs which asset and partition failed, why, and what to do.",
)
def failure_report(context: dg.RunFailureSensorContext) -> None:
    context.log.error(failure_message(context.dagster_run, context.get_step_failure_events()))

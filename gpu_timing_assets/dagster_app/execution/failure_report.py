"""One message for a failed run: which asset, which partition, why, and what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import dagster as dg
from dagster._utils.error import SerializableErrorInfo

PARTITION_TAG = "dagster/partition"


@dataclass(frozen=True)
class Failure:
    """What a person is told of a step that failed."""

    asset: str
    cause: str
    remedy: str
    exit_code: int = 1

    @classmethod
    def of_step(cls, event: dg.DagsterEvent) -> Self:
        """What `execution.stage` said of a fault, else the root cause."""
        data = event.step_failure_data
        facts = data.user_failure_data.metadata if data.user_failure_data else {}
        if "cause" in facts:
            cause, remedy, code = (
                str(facts[name].value) for name in ("cause", "remedy", "exit_code")
            )
            return cls(str(event.step_key), cause, remedy, int(code))
        remedy = "read the step's stderr, then materialize again"
        return cls(str(event.step_key), _root_cause(data.error), remedy)


def failure_message(run: dg.DagsterRun, step_failures: Sequence[dg.DagsterEvent]) -> str:
    """A part for each failed step; a run that failed outside its steps says so."""
    partition = run.tags.get(PARTITION_TAG, "no partition")
    lines = [
        f"asset={failure.asset} partition={partition} cause={failure.cause!r} "
        f"remedy={failure.remedy!r}"
        for failure in map(Failure.of_step, step_failures)
    ]
    if not lines:
        lines = [
            f"partition={partition} cause='the run ended outside a step: its process was killed or "
            "could not start' remedy='read the run's last events, then materialize again: nothing "
            "half-written is left'"
        ]
    return f"run {run.run_id[:8]} failed: " + "; ".join(lines)


def _root_cause(error: SerializableErrorInfo | None) -> str:
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

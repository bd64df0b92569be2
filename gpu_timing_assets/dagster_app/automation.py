"""What starts runs without a person: a nightly backfill and a schedule, both off at first."""

import warnings
from collections.abc import Iterator
from datetime import timedelta

import dagster as dg

from gpu_timing_assets.config.settings import load_settings
from gpu_timing_assets.dagster_app.out_of_date import OutOfDate
from gpu_timing_assets.dagster_app.partitions import WORKLOADS

SETTINGS = load_settings()

# On the cron's tick: everything missing or stale, in one backfill, in the graph's order.
NIGHTLY = (
    dg.AutomationCondition.cron_tick_passed(SETTINGS.backfill_cron, SETTINGS.cron_timezone)
    & OutOfDate()
    & ~dg.AutomationCondition.in_progress()
)

# The matrix is made of what exists: it waits for running comparisons, not for missing ones.
AFTER_COMPARISONS = dg.AutomationCondition.eager().without(
    ~dg.AutomationCondition.any_deps_missing()
)

COMPARISON_FRESHNESS = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(days=SETTINGS.comparison_max_age_days),
    warn_window=timedelta(days=SETTINGS.comparison_max_age_days) * 0.75,
)

with warnings.catch_warnings():  # on every load, about `use_user_code_server`
    warnings.simplefilter("ignore", dg.BetaWarning)
    nightly_backfill = dg.AutomationConditionSensorDefinition(
        "nightly_backfill",
        target=dg.AssetSelection.all(),
        use_user_code_server=True,  # the condition is this project's own
        description=f"One backfill of what is missing or stale, at {SETTINGS.backfill_cron!r} "
        f"{SETTINGS.cron_timezone}; "
        "the fidelity matrix after it.",
        run_tags={"started-by": "nightly_backfill"},
    )

whole_graph = dg.define_asset_job(
    "whole_graph",
    selection=dg.AssetSelection.all(),
    partitions_def=WORKLOADS,
    description="One workload from prompts to report, and the matrix over all.",
)


@dg.schedule(
    job=whole_graph,
    cron_schedule=SETTINGS.refresh_cron,
    execution_timezone=SETTINGS.cron_timezone,
    description="A run of the whole graph for each workload, whether or not anything changed.",
)
def refresh_every_workload(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
    stamp = context.scheduled_execution_time.strftime("%Y-%m-%dT%H:%M")
    for workload_id in WORKLOADS.get_partition_keys():
        yield dg.RunRequest(
            run_key=f"{workload_id}-{stamp}",
            partition_key=workload_id,
            tags={"started-by": "refresh_every_workload"},
        )

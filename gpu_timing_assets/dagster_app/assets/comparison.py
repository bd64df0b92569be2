"""The comparison: how far the simulation lies from the real engine."""

import dagster as dg

from gpu_timing_assets.dagster_app.assets.real_run import real_run
from gpu_timing_assets.dagster_app.assets.sim_run import sim_run
from gpu_timing_assets.dagster_app.assets.sim_run_at_host_speed import sim_run_at_host_speed
from gpu_timing_assets.dagster_app.automation import COMPARISON_FRESHNESS, NIGHTLY
from gpu_timing_assets.dagster_app.checks import comparison_check_results, comparison_check_specs
from gpu_timing_assets.dagster_app.execution.stage import stage
from gpu_timing_assets.dagster_app.launchpad import COMPARISON_SCHEMA
from gpu_timing_assets.dagster_app.partitions import WORKLOADS
from gpu_timing_assets.dagster_app.placement import CPU_OP_TAGS
from gpu_timing_assets.dagster_app.target import Choice, TargetResource


@dg.asset(
    deps=[real_run, sim_run, sim_run_at_host_speed],
    group_name="fidelity",
    description="TTFT, ITL, TPOT and E2E of both sides with their errors, beside the real "
    "engine's own noise.",
    kinds={"altair", "html"},
    owners=["team:simulation"],
    tags={"stage": "compare-runs", "runs-on": "cpu"},
    partitions_def=WORKLOADS,
    config_schema=COMPARISON_SCHEMA,
    op_tags=CPU_OP_TAGS,
    check_specs=comparison_check_specs(),
    automation_condition=NIGHTLY,
    freshness_policy=COMPARISON_FRESHNESS,
    code_version="1",
)
def comparison(
    context: dg.AssetExecutionContext, target: dg.ResourceParam[TargetResource]
) -> dg.MaterializeResult:
    from gpu_timing_assets import compare as stage_comparison
    from gpu_timing_assets.dagster_app.descriptions.comparison import describe_comparison
    from gpu_timing_assets.stage_inputs import comparison_inputs

    with stage(context, "compare-runs", target=target.id) as clock:
        experiment = target.experiment(
            context.partition_key, Choice.of_asset(context, "comparison")
        )
        directory = experiment.data.comparison_dir(experiment.comparison_id)
        result = stage_comparison.run(experiment, comparison_inputs(experiment), directory)
    return dg.MaterializeResult(
        metadata=describe_comparison(result, clock),
        check_results=list(comparison_check_results(result)),
    )

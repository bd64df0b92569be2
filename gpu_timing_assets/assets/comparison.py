"""The comparison: how far the simulation lies from the real engine."""

import dagster as dg

from gpu_timing_assets.assets.real_run import real_run
from gpu_timing_assets.assets.sim_run import sim_run
from gpu_timing_assets.orchestration.automation import COMPARISON_FRESHNESS, NIGHTLY
from gpu_timing_assets.orchestration.checks import comparison_check_results, comparison_check_specs
from gpu_timing_assets.orchestration.gpu_tags import CPU_OP_TAGS
from gpu_timing_assets.orchestration.launchpad import ComparisonConfig, TargetResource
from gpu_timing_assets.orchestration.partitions import WORKLOADS
from gpu_timing_assets.orchestration.stage import stage


@dg.asset(
    deps=[real_run, sim_run],
    group_name="fidelity",
    description="TTFT, ITL, TPOT and E2E of both sides with their errors, beside the real engine's own noise.",
    kinds={"altair", "html"},
    owners=["team:simulation"],
    tags={"stage": "compare-runs", "runs-on": "cpu"},
    partitions_def=WORKLOADS,
    op_tags=CPU_OP_TAGS,
    check_specs=comparison_check_specs(),
    automation_condition=NIGHTLY,
    freshness_policy=COMPARISON_FRESHNESS,
    code_version="1",
)
def comparison(context: dg.AssetExecutionContext, config: ComparisonConfig, target: TargetResource) -> dg.MaterializeResult:
    from gpu_timing_assets import comparison as stage_comparison
    from gpu_timing_assets.orchestration.describe_comparison import describe_comparison
    from gpu_timing_assets.orchestration.stage_inputs import comparison_inputs

    experiment = target.experiment(context.partition_key, config.as_overrides())
    with stage(context, "compare-runs", target=experiment.target_id) as clock:
        directory = experiment.data.comparison_dir(experiment.comparison_id)
        result = stage_comparison.run(experiment, comparison_inputs(experiment), directory)
    return dg.MaterializeResult(metadata=describe_comparison(result, clock),
                                check_results=list(comparison_check_results(result)))

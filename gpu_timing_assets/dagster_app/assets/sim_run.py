"""The simulated run: the same workload through a simulator."""

import dagster as dg

from gpu_timing_assets.dagster_app.assets.profiling_bundle import profiling_bundle
from gpu_timing_assets.dagster_app.assets.workload_spec import workload_spec
from gpu_timing_assets.dagster_app.automation import NIGHTLY
from gpu_timing_assets.dagster_app.code_versions import VIDUR_VERSION
from gpu_timing_assets.dagster_app.execution.stage import stage
from gpu_timing_assets.dagster_app.launchpad import SIM_RUN_SCHEMA
from gpu_timing_assets.dagster_app.partitions import WORKLOADS
from gpu_timing_assets.dagster_app.placement import CPU_OP_TAGS
from gpu_timing_assets.dagster_app.target import Choice, TargetResource


@dg.asset(
    deps=[workload_spec, profiling_bundle],
    group_name="simulation",
    description="The same workload through a simulator with this target's bundle; the same tables "
    "as the real run.",
    kinds={"vidur"},
    owners=["team:simulation"],
    tags={"stage": "vidur-sim", "runs-on": "cpu"},
    partitions_def=WORKLOADS,
    config_schema=SIM_RUN_SCHEMA,
    op_tags=CPU_OP_TAGS,
    automation_condition=NIGHTLY,
    code_version=f"1/{VIDUR_VERSION}",
)
def sim_run(
    context: dg.AssetExecutionContext, target: dg.ResourceParam[TargetResource]
) -> dg.MaterializeResult:
    from gpu_timing_assets import simulators
    from gpu_timing_assets.dagster_app.descriptions.run import describe_sim_run
    from gpu_timing_assets.stage_inputs import sim_inputs

    with stage(context, "vidur-sim", target=target.id) as clock:
        experiment = target.experiment(context.partition_key, Choice.of_asset(context, "simulator"))
        directory = experiment.data.sim_run_dir(experiment.sim_run_id)
        meta = simulators.run(experiment, sim_inputs(experiment), directory)
    return dg.MaterializeResult(metadata=describe_sim_run(meta, directory, clock))

"""The workload: what is asked of the engine, and when."""

import dagster as dg

from gpu_timing_assets.dagster_app.automation import NIGHTLY
from gpu_timing_assets.dagster_app.execution.stage import stage
from gpu_timing_assets.dagster_app.launchpad import WORKLOAD_SPEC_SCHEMA
from gpu_timing_assets.dagster_app.partitions import WORKLOADS
from gpu_timing_assets.dagster_app.placement import CPU_OP_TAGS
from gpu_timing_assets.dagster_app.target import Choice, TargetResource


@dg.asset(
    group_name="workload",
    description="Prompts as token counts, and when each arrives: the one input of the real engine "
    "and the simulator.",
    kinds={"csv", "tokenizer"},
    owners=["team:workloads"],
    tags={"stage": "workload-spec", "runs-on": "cpu"},
    partitions_def=WORKLOADS,
    config_schema=WORKLOAD_SPEC_SCHEMA,
    op_tags=CPU_OP_TAGS,
    automation_condition=NIGHTLY,
    code_version="1",
)
def workload_spec(
    context: dg.AssetExecutionContext, target: dg.ResourceParam[TargetResource]
) -> dg.MaterializeResult:
    from gpu_timing_assets import workload
    from gpu_timing_assets.dagster_app.descriptions.workload import describe_workload

    with stage(context, "workload-spec") as clock:
        experiment = target.experiment(context.partition_key, Choice.of_asset(context, "workload"))
        directory = experiment.data.workload_dir(context.partition_key)
        meta = workload.run(experiment, directory)
    return dg.MaterializeResult(
        metadata=describe_workload(meta, directory, clock),
        data_version=dg.DataVersion(meta.workload_sha256),
    )

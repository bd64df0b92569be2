"""The real run: the workload replayed against the real engine."""

import dagster as dg

from gpu_timing_assets.dagster_app.assets.workload_spec import workload_spec
from gpu_timing_assets.dagster_app.automation import NIGHTLY
from gpu_timing_assets.dagster_app.checks import real_run_check_result, real_run_check_specs
from gpu_timing_assets.dagster_app.code_versions import ENGINE_VERSION
from gpu_timing_assets.dagster_app.execution.pipes_launcher import pipes_launcher
from gpu_timing_assets.dagster_app.execution.stage import stage
from gpu_timing_assets.dagster_app.partitions import WORKLOADS
from gpu_timing_assets.dagster_app.placement import HARDWARE, MEASURING_OP_TAGS, MEASURING_POOL
from gpu_timing_assets.dagster_app.target import TargetResource


@dg.asset(
    deps=[workload_spec],
    group_name="measurement",
    description="The workload replayed on its schedule against the real engine; token times as "
    "the client sees them.",
    kinds={"vllm"},
    owners=["team:measurement"],
    tags={"stage": "real-bench", "runs-on": HARDWARE.name},
    partitions_def=WORKLOADS,
    pool=MEASURING_POOL,
    op_tags=MEASURING_OP_TAGS,
    check_specs=real_run_check_specs(),
    automation_condition=NIGHTLY,
    code_version=f"1/{ENGINE_VERSION}",
)
def real_run(
    context: dg.AssetExecutionContext, target: dg.ResourceParam[TargetResource]
) -> dg.MaterializeResult:
    from gpu_timing_assets.core.run import RealRunMeta, read_complete_run
    from gpu_timing_assets.dagster_app.descriptions.run import describe_real_runs
    from gpu_timing_assets.measure import real_bench

    experiment = target.experiment(context.partition_key)
    with stage(context, "real-bench", target=experiment.target.id) as clock:
        inputs = real_bench.RealBenchInputs(
            workload_dirs=(experiment.data.workload_dir(context.partition_key),)
        )
        result = real_bench.run(
            experiment, inputs, experiment.data.real_runs, launch=pipes_launcher(context)
        )
    metas = [
        read_complete_run(directory, RealRunMeta, allow_invalid=True)
        for directory in result.run_dirs
    ]
    return dg.MaterializeResult(
        metadata=describe_real_runs(result.run_dirs, metas, clock),
        check_results=[real_run_check_result(metas)],
        data_version=dg.DataVersion(metas[0].run_id),
    )

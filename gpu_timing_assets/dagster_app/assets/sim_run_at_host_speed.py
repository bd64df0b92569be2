"""The simulated run, corrected for how fast the host was in the real runs."""

import dagster as dg

from gpu_timing_assets.dagster_app.assets.profiling_bundle import profiling_bundle
from gpu_timing_assets.dagster_app.assets.real_run import real_run
from gpu_timing_assets.dagster_app.assets.workload_spec import workload_spec
from gpu_timing_assets.dagster_app.automation import NIGHTLY
from gpu_timing_assets.dagster_app.code_versions import VIDUR_VERSION
from gpu_timing_assets.dagster_app.execution.stage import stage
from gpu_timing_assets.dagster_app.partitions import WORKLOADS
from gpu_timing_assets.dagster_app.placement import CPU_OP_TAGS
from gpu_timing_assets.dagster_app.target import Choice, TargetResource

AT_HOST_SPEED = Choice({"simulator": "engine_loop"}, {"simulator": {"host_speed": "probed"}})


@dg.asset(
    deps=[workload_spec, profiling_bundle, real_run],
    group_name="simulation",
    description="The simulation at the host speed that probes beside the real runs found; the "
    "comparison judges it.",
    kinds={"vidur"},
    owners=["team:simulation"],
    tags={"stage": "vidur-sim", "runs-on": "cpu"},
    partitions_def=WORKLOADS,
    op_tags=CPU_OP_TAGS,
    automation_condition=NIGHTLY,
    code_version=f"1/{VIDUR_VERSION}",
)
def sim_run_at_host_speed(
    context: dg.AssetExecutionContext, target: dg.ResourceParam[TargetResource]
) -> dg.MaterializeResult:
    from gpu_timing_assets import simulators
    from gpu_timing_assets.core.run import RealRunMeta, read_complete_run
    from gpu_timing_assets.dagster_app.descriptions.run import describe_sim_run
    from gpu_timing_assets.stage_inputs import sim_inputs

    with stage(context, "vidur-sim", target=target.id) as clock:
        experiment = target.experiment(context.partition_key, AT_HOST_SPEED)
        inputs = sim_inputs(experiment)
        assert inputs.real_run_dir is not None
        real = read_complete_run(inputs.real_run_dir, RealRunMeta, allow_invalid=True)
        if real.probe_before is None and real.probe_after is None:
            context.log.info("the real runs have no probe of the host's speed: nothing to correct")
            return dg.MaterializeResult(metadata={"corrected": False})
        directory = experiment.data.sim_run_dir(experiment.sim_run_id)
        meta = simulators.run(experiment, inputs, directory)
    return dg.MaterializeResult(
        metadata={"corrected": True, **describe_sim_run(meta, directory, clock)}
    )

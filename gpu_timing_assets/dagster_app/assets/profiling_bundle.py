"""The profiling bundle: what the simulator knows about a model on a piece of hardware."""

import dagster as dg

from gpu_timing_assets.dagster_app.automation import NIGHTLY
from gpu_timing_assets.dagster_app.checks import bundle_check_result, bundle_check_specs
from gpu_timing_assets.dagster_app.code_versions import ENGINE_VERSION
from gpu_timing_assets.dagster_app.execution.pipes_launcher import pipes_launcher
from gpu_timing_assets.dagster_app.execution.stage import stage
from gpu_timing_assets.dagster_app.launchpad import ProfilingBundleConfig
from gpu_timing_assets.dagster_app.placement import HARDWARE, MEASURING_OP_TAGS, MEASURING_POOL
from gpu_timing_assets.dagster_app.target import TargetResource


@dg.asset(
    group_name="measurement",
    description="Kernel and host timings of one model on one hardware: once per target, never "
    "from a judged workload.",
    kinds={"vllm", "torch"},
    owners=["team:measurement"],
    tags={"stage": "vidur-profile", "runs-on": HARDWARE.name},
    pool=MEASURING_POOL,
    op_tags=MEASURING_OP_TAGS,
    check_specs=bundle_check_specs(),
    automation_condition=NIGHTLY,
    code_version=f"1/{ENGINE_VERSION}",
)
def profiling_bundle(
    context: dg.AssetExecutionContext,
    config: ProfilingBundleConfig,
    target: dg.ResourceParam[TargetResource],
) -> dg.MaterializeResult:
    from gpu_timing_assets.dagster_app.descriptions.bundle import describe_bundle
    from gpu_timing_assets.measure import profiling

    experiment = target.experiment()
    with stage(context, "vidur-profile", target=experiment.target.id) as clock:
        root = experiment.profiling_root
        launch = pipes_launcher(context)
        meta = profiling.run(experiment, root, launch=launch, force=config.force)
    return dg.MaterializeResult(
        metadata=describe_bundle(meta, root, clock),
        check_results=[bundle_check_result(meta)],
        data_version=dg.DataVersion(f"{meta.bundle_config_sha256[:16]}-{meta.measured_at}"),
    )

"""The fidelity matrix: all workloads and targets at a glance."""

import dagster as dg

from gpu_timing_assets.dagster_app.assets.comparison import comparison
from gpu_timing_assets.dagster_app.automation import AFTER_COMPARISONS
from gpu_timing_assets.dagster_app.execution.stage import stage
from gpu_timing_assets.dagster_app.placement import CPU_OP_TAGS
from gpu_timing_assets.dagster_app.target import TargetResource


# It reads the comparisons that exist: an input would load every partition and fail on the first
# that is missing.
@dg.asset(
    deps=[comparison],
    group_name="fidelity",
    description="Every comparison that exists, one row each: where the simulator can be believed "
    "and where not.",
    kinds={"altair", "html"},
    owners=["team:simulation"],
    tags={"stage": "fidelity-matrix", "runs-on": "cpu"},
    op_tags=CPU_OP_TAGS,
    automation_condition=AFTER_COMPARISONS,
    code_version="1",
)
def fidelity_matrix(
    context: dg.AssetExecutionContext, target: dg.ResourceParam[TargetResource]
) -> dg.MaterializeResult:
    from gpu_timing_assets.compare import build_fidelity_matrix
    from gpu_timing_assets.dagster_app.descriptions.comparison import describe_matrix

    data = target.experiment().data
    with stage(context, "fidelity-matrix") as clock:
        result = build_fidelity_matrix(data, data.fidelity_matrix_dir)
    return dg.MaterializeResult(metadata=describe_matrix(result, clock))

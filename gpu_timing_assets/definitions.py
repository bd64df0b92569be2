"""The one Definitions object that Dagster loads."""

import dagster as dg

from gpu_timing_assets.assets.comparison import comparison
from gpu_timing_assets.assets.fidelity_matrix import fidelity_matrix
from gpu_timing_assets.assets.profiling_bundle import profiling_bundle
from gpu_timing_assets.assets.real_run import real_run
from gpu_timing_assets.assets.sim_run import sim_run
from gpu_timing_assets.assets.workload_spec import workload_spec
from gpu_timing_assets.orchestration.automation import nightly_backfill, refresh_every_workload, whole_graph
from gpu_timing_assets.orchestration.executor import executor
from gpu_timing_assets.orchestration.failure_report import failure_report
from gpu_timing_assets.orchestration.launchpad import target
from gpu_timing_assets.orchestration.settings import load_settings

defs = dg.Definitions(
    assets=[workload_spec, real_run, profiling_bundle, sim_run, comparison, fidelity_matrix],
    jobs=[whole_graph],
    schedules=[refresh_every_workload],
    sensors=[nightly_backfill, failure_report],
    resources={"target": target},
    executor=executor(load_settings()),
)

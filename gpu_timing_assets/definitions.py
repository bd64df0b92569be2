"""The one Definitions object that Dagster loads."""

import dagster as dg

from gpu_timing_assets.config.settings import load_settings
from gpu_timing_assets.dagster_app.assets.comparison import comparison
from gpu_timing_assets.dagster_app.assets.fidelity_matrix import fidelity_matrix
from gpu_timing_assets.dagster_app.assets.profiling_bundle import profiling_bundle
from gpu_timing_assets.dagster_app.assets.real_run import real_run
from gpu_timing_assets.dagster_app.assets.sim_run import sim_run
from gpu_timing_assets.dagster_app.assets.sim_run_at_host_speed import sim_run_at_host_speed
from gpu_timing_assets.dagster_app.assets.workload_spec import workload_spec
from gpu_timing_assets.dagster_app.automation import (
    nightly_backfill,
    refresh_every_workload,
    whole_graph,
)
from gpu_timing_assets.dagster_app.execution.executor import executor
from gpu_timing_assets.dagster_app.execution.failure_report import failure_report
from gpu_timing_assets.dagster_app.target import target

defs = dg.Definitions(
    assets=[
        workload_spec,
        real_run,
        profiling_bundle,
        sim_run,
        sim_run_at_host_speed,
        comparison,
        fidelity_matrix,
    ],
    jobs=[whole_graph],
    schedules=[refresh_every_workload],
    sensors=[nightly_backfill, failure_report],
    resources={"target": target},
    executor=executor(load_settings()),
)

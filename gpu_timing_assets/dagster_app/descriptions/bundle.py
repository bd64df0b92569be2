"""What a person wants to see of a profiling bundle on Dagster's page."""

from pathlib import Path
from typing import Any

import dagster as dg

from gpu_timing_assets.core.bundle import BundleMeta
from gpu_timing_assets.dagster_app.descriptions.metadata_table import metadata_table
from gpu_timing_assets.dagster_app.descriptions.sparkline import sparkline
from gpu_timing_assets.dagster_app.execution.stage import StageClock


def describe_bundle(meta: BundleMeta, root: Path, clock: StageClock) -> dict[str, Any]:
    """Coverage, quality, fitted errors; numbers besides tables, for Dagster to plot over time."""
    fits = [
        {"operator": operator, **errors.model_dump()}
        for operator, errors in meta.fitted_error_pct.items()
    ]
    medians = [errors.median for errors in meta.fitted_error_pct.values()]
    checks = [
        {"check": name, "passed": check.passed}
        | {"value": str(check.value), "bound": str(check.bound), "what": check.what}
        for name, check in meta.quality.items()
    ]
    return {
        "covers": f"up to {meta.max_num_tokens} tokens a step, {meta.max_decode_batch_size} "
        f"decodes, {meta.max_context_tokens} tokens of context",
        "quality": metadata_table(checks),
        "fitted_errors_pct": metadata_table(fits),
        "fitted_errors": sparkline(medians, "error of each operator's fit, in the table's order"),
        "worst_fitted_error_pct": max(medians, default=0.0),
        "failed_quality_checks": len(meta.failed_checks),
        "engine": f"{meta.engine} {meta.engine_version}",
        "device": meta.device_name,
        "profiling_preset": meta.profiling_preset,
        "measured_at": meta.measured_at,
        "measuring_s": float(sum(meta.duration_s.values())),
        "directory": dg.MetadataValue.path(root),
        "stage_seconds": clock.seconds,
    }

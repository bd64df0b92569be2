"""What a person wants to see of a profiling bundle on Dagster's page."""

from pathlib import Path
from typing import Any

import dagster as dg

from gpu_timing_assets.core.bundle import BundleMeta
from gpu_timing_assets.dagster_app.descriptions.metadata_table import metadata_table
from gpu_timing_assets.dagster_app.descriptions.sparkline import sparkline
from gpu_timing_assets.dagster_app.execution.stage import StageClock


def describe_bundle(meta: BundleMeta, root: Path, clock: StageClock) -> dict[str, Any]:
    """Coverage, quality, fits and self-test; numbers besides tables, for Dagster to plot over
    time.
    """
    errors_by_operator = [
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
        "fitted_errors_pct": metadata_table(errors_by_operator),
        "fitted_errors": sparkline(medians, "error of each operator's fit, in the table's order"),
        "worst_fitted_error_pct": max(medians, default=0.0),
        "time_fits": metadata_table(_time_fits(meta)),
        **_self_test(meta),
        **_repeatability(meta),
        "failed_quality_checks": len(meta.failed_checks),
        "engine": f"{meta.engine} {meta.engine_version}",
        "device": meta.device_name,
        "profiling_preset": meta.profiling_preset,
        "measured_at": meta.measured_at,
        "measuring_s": float(sum(meta.duration_s.values())),
        "directory": dg.MetadataValue.path(root),
        "stage_seconds": clock.seconds,
    }


def _time_fits(meta: BundleMeta) -> list[dict[str, Any]]:
    return [
        {"part": name, "rows": fit.rows, "residual_pct": fit.residual_pct}
        | {"interval_pct": fit.interval_pct}
        | {"factor": "" if fit.factor is None else f"{fit.factor:g}"}
        for name, fit in meta.fits.items()
    ]


def _self_test(meta: BundleMeta) -> dict[str, Any]:
    tested = meta.self_test
    if tested is None:
        return {}
    return {
        "self_test": _percentages("statistic", "error_pct", tested.error_pct),
        "self_test_layers": _percentages("layer", "error_pct", tested.layers_pct),
        **_numbers("self_test_error_pct", tested.error_pct),
    }


def _repeatability(meta: BundleMeta) -> dict[str, Any]:
    if meta.repeatability is None:
        return {}
    spread = meta.repeatability.spread_pct
    return {
        "prediction_spread": _percentages("statistic", "spread_pct", spread),
        "repeated_at": ", ".join(meta.repeatability.measured_at),
        **_numbers("prediction_spread_pct", spread),
    }


def _percentages(key: str, column: str, figures: dict[str, float]) -> dg.TableMetadataValue:
    return metadata_table([{key: name, column: figure} for name, figure in figures.items()])


def _numbers(prefix: str, figures: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}_{name}".lower().replace(" ", "_"): value for name, value in figures.items()}

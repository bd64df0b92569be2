"""How good a bundle is: coverage, spread over repeats, and each fit's error on held-out points."""

from collections.abc import Mapping, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.config.profiling import ProfilingPreset
from gpu_timing_assets.core.bundle import FitError, Frames, QualityCheck, SelfTest, TimeFit
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.tables.schemas import (
    ALL_REDUCE,
    ATTENTION,
    BURST_REQUESTS,
    BURST_STEPS,
    HEAD,
    MLP,
)
from gpu_timing_assets.engine_loop.bundle import kernel_times, read_measurements
from gpu_timing_assets.engine_loop.collectives import ALL_REDUCE_MEDIAN
from gpu_timing_assets.engine_loop.fit.engine import fit_with_report
from gpu_timing_assets.engine_loop.fit.gpu import FittedFactor
from gpu_timing_assets.engine_loop.fitted_time import FittedTime
from gpu_timing_assets.engine_loop.kernels import LAYER_OPERATORS
from gpu_timing_assets.engine_loop.loop_timing import EngineTiming
from gpu_timing_assets.measure.profiling.self_test import self_test, worst_error

# an error below this is a launch gap inside a graph, whatever it is in per cent
NEGLIGIBLE_MS = 0.0005


@dataclass(frozen=True)
class Judgement:
    """What stands in `bundle_meta.json` under these names."""

    quality: dict[str, QualityCheck]
    fitted_error_pct: dict[str, FitError]
    fits: dict[str, TimeFit]
    self_test: SelfTest | None


def judge_bundle(config: ExperimentConfig, params: EngineParams, root: Path) -> Judgement:
    """Of the bundle in `root`.

    Raises `ArtifactError` for a table that is malformed and `ProfilingBundleError` for bursts that
    cannot be fitted: such a bundle is not filed at all.
    """
    frames = read_measurements(root, config)
    layers = params.model_dimensions.num_hidden_layers
    kernels = kernel_times(frames, layers)
    bursts = frames[BURST_STEPS], frames[BURST_REQUESTS]
    timing, factors = fit_with_report(*bursts, params, kernels)
    tested = self_test(frames, params, kernels, timing)
    fitted = {
        **_linear_errors(frames, layers),
        **_attention_errors(frames, layers),
        **_all_reduce_errors(frames, layers),
    }
    quality = {
        **_measurement_checks(frames, config.profiling),
        **_coverage_checks(frames, config.profiling, params),
        **_error_checks(fitted, config.profiling),
        **_self_test_checks(tested, config.profiling),
    }
    return Judgement(quality, fitted, time_fits(timing, factors), tested)


def time_fits(timing: EngineTiming, factors: Mapping[str, FittedFactor]) -> dict[str, TimeFit]:
    """What each part of the time model rests on, by name."""
    host, client = vars(timing.host), vars(timing.client)
    parts: dict[str, FittedTime] = {}
    for name, found in {
        **host,
        **{f"client {key}": value for key, value in client.items()},
    }.items():
        by_mode = found if isinstance(found, dict) else {"": found}
        parts |= {
            f"{name} {mode}".strip().replace("_", " "): one
            for mode, one in by_mode.items()
            if isinstance(one, FittedTime)
        }
    fits = {name: TimeFit(**_fit_report(one)) for name, one in parts.items()}
    return fits | {
        f"factor: {name}": TimeFit(**_fit_report(one), factor=round(one.value, 4))
        for name, one in factors.items()
    }


def _fit_report(fitted: FittedTime | FittedFactor) -> dict[str, Any]:
    return {
        "rows": fitted.num_rows,
        "residual_pct": round(fitted.residual_pct, 2),
        "interval_pct": round(fitted.interval_pct, 2),
    }


def _measurement_checks(frames: Frames, grid: ProfilingPreset) -> dict[str, QualityCheck]:
    timed = (MLP, ATTENTION, HEAD, ALL_REDUCE)
    kernels = {table.file: frames[table] for table in timed if table in frames}
    rows = sum(len(frame) for frame in kernels.values()) + len(frames[BURST_STEPS])
    constant = [
        f"{name}: {column}"
        for name, frame in kernels.items()
        for column in _median_columns(frame)
        if frame[column].nunique() == 1
    ]
    spread = {name: _spread_pct(frame) for name, frame in kernels.items()}
    return {
        "measurements": _check(True, rows, None, "rows; none empty, zero or duplicated"),
        "no_constant_column": _none(constant, "columns that do not vary", ", ".join(constant)),
        "spread": _check(
            max(spread.values()) <= grid.max_spread_pct,
            spread,
            grid.max_spread_pct,
            "median over grid points of standard deviation / median of the repeats, per cent",
        ),
    }


def _coverage_checks(
    frames: Frames, grid: ProfilingPreset, params: EngineParams
) -> dict[str, QualityCheck]:
    wanted = {min(n, params.max_num_batched_tokens) for n in grid.num_tokens}
    missing = sorted(wanted - set(frames[MLP]["num_tokens"]))
    modes = set(frames[BURST_STEPS]["graph_mode"])
    expected = {"eager"} if params.graph_mode == "NONE" else {"full", "piecewise", "eager"}
    provoked = "graph modes that the bursts provoked"
    return {
        "coverage": _none(missing, "points of the preset's grid that are missing", missing),
        "graph_modes": _check(expected <= modes, sorted(modes), sorted(expected), provoked),
    }


def _error_checks(fitted: dict[str, FitError], grid: ProfilingPreset) -> dict[str, QualityCheck]:
    kernel, kernel_pct = _worst(fitted)
    return {
        "held_out_error": _check(
            kernel_pct <= grid.max_held_out_error_pct,
            round(kernel_pct, 2),
            grid.max_held_out_error_pct,
            f"median error on held-out points of the worst kernel ({kernel}), per cent",
        ),
    }


def _self_test_checks(tested: SelfTest | None, grid: ProfilingPreset) -> dict[str, QualityCheck]:
    bound = grid.max_self_test_error_pct
    if tested is None:
        missing = "no burst was held out of the fits to test them on: profile with a larger grid"
        return {"self_test": _check(False, None, bound, missing)}
    name, error_pct = worst_error(tested)
    layer = max(tested.layers_pct, key=lambda layer: abs(tested.layers_pct[layer]))
    what = (
        f"largest error of a simulation of {tested.bursts} bursts that no fit has seen, in per "
        f"cent: {name}; of the layers alone the farthest off is {layer}, by "
        f"{tested.layers_pct[layer]:+.1f} %"
    )
    return {"self_test": _check(abs(error_pct) <= bound, error_pct, bound, what)}


def _check(passed: bool, value: Any, bound: Any, what: str) -> QualityCheck:
    return QualityCheck(passed=passed, value=value, bound=bound, what=what)


def _none(found: Sized, what: str, named: Any) -> QualityCheck:
    return _check(not found, len(found), 0, f"{what}: {named or 'none'}")


def _linear_errors(frames: Frames, layers: int) -> dict[str, FitError]:
    """At every other inner grid point, left out of its fit."""
    kept, left_out = _without_every_other(frames[MLP])
    fitted = kernel_times({**frames, MLP: kept}, layers)
    return {
        operator: _errors(
            left_out["num_tokens"].map(fitted.operator_curve(operator)),
            left_out[f"time_stats.{operator}.median"],
        )
        for operator in LAYER_OPERATORS
    }


def _all_reduce_errors(frames: Frames, layers: int) -> dict[str, FitError]:
    """As `_linear_errors`; none of a model on one device."""
    if ALL_REDUCE not in frames:
        return {}
    kept, left_out = _without_every_other(frames[ALL_REDUCE])
    collectives = kernel_times({**frames, ALL_REDUCE: kept}, layers).collectives
    assert collectives is not None
    predicted = left_out["num_tokens"].map(collectives.all_reduce)
    return {"all_reduce": _errors(predicted, left_out[ALL_REDUCE_MEDIAN])}


def _without_every_other(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`(kept, left out)`: a table by tokens without every other inner grid point."""
    left_out = frame.sort_values("num_tokens").iloc[1:-1:2]
    return frame.drop(index=left_out.index), left_out


def _attention_errors(frames: Frames, layers: int) -> dict[str, FitError]:
    """At every other inner value of one count, left out of its fit, where at least two values of it
    are left beside the other count.
    """
    attention, errors = frames[ATTENTION], {}
    for kind, x, y in (
        ("decode", "batch_size", "kv_cache_size"),
        ("prefill", "kv_cache_size", "prefill_chunk_size"),
    ):
        points = attention[(attention["prefill_chunk_size"] == 0) == (kind == "decode")]
        held = points[points[y].isin(np.sort(points[y].unique())[1:-1:2])]
        left = points.drop(index=held.index).groupby(x).filter(lambda rows: len(rows) > 1)
        held_out = held[held[x].isin(left[x])]
        if held_out.empty:
            continue
        kept = attention.drop(index=held.index)
        fitted = kernel_times({**frames, ATTENTION: kept}, layers)
        surface = fitted.decode_attention if kind == "decode" else fitted.prefill_attention
        errors[f"attn_{kind}"] = _errors(
            [surface(*values) for values in zip(held_out[x], held_out[y], strict=True)],
            held_out[f"time_stats.attn_{kind}.median"],
        )
    return errors


def _errors(predicted: Any, measured: pd.Series) -> FitError:
    measured = np.asarray(measured, dtype=float)
    error = np.abs(np.asarray(predicted, dtype=float) - measured)
    relative = np.where(error < NEGLIGIBLE_MS, 0.0, error / measured) * 100
    return FitError(
        median=round(float(np.median(relative)), 3),
        max=round(float(relative.max()), 3),
        points=len(measured),
    )


def _worst(errors: dict[str, FitError]) -> tuple[str, float]:
    """The name and the median error in per cent; `none` without errors."""
    medians = {name: error.median for name, error in errors.items()} or {"none": 0.0}
    worst = max(medians, key=lambda name: medians[name])
    return worst, medians[worst]


def _median_columns(frame: pd.DataFrame) -> list[str]:
    return [column for column in frame.columns if column.endswith(".median")]


def _spread_pct(frame: pd.DataFrame) -> float:
    spreads = [
        (frame[column.removesuffix("median") + "std"] / frame[column]).dropna()
        for column in _median_columns(frame)
    ]
    return round(float(pd.concat(spreads).median()) * 100, 2)

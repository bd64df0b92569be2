"""How good a bundle is: coverage, spread over repeats, and the error of each fit on points that it
did not see.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.bundle import FitError, QualityCheck, bundle_tables
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.tables.invariants import check_measurements
from gpu_timing_assets.core.tables.schemas import (
    ATTENTION,
    BURST_REQUESTS,
    BURST_STEPS,
    HEAD,
    MLP,
)
from gpu_timing_assets.engine_loop.fit.durations import derive_steps
from gpu_timing_assets.engine_loop.fit.engine import REQUEST_FEATURES, fit_engine_timing
from gpu_timing_assets.engine_loop.fit.fit_time import fit_time
from gpu_timing_assets.engine_loop.fitted_time import FittedTime
from gpu_timing_assets.engine_loop.kernels import LAYER_OPERATORS, KernelTimes

# an error below this is a launch gap inside a graph, whatever it is in per cent
NEGLIGIBLE_MS = 0.0005
MIN_STEPS_OF_A_SIZE = 8
HOST_FITS = ("schedule", "update")
# the host jitters on its own: two bursts of the same size differ by this much
MAX_HOST_ERROR_PCT = 25.0


def judge_bundle(
    config: ExperimentConfig, params: EngineParams, root: Path
) -> tuple[dict[str, QualityCheck], dict[str, FitError]]:
    """`(quality, fitted_error_pct)` of the bundle in `root`, as they stand in `bundle_meta.json`.

    Raises `ArtifactError` for a table that is malformed and `ProfilingBundleError` for bursts that
    cannot be fitted: such a bundle is not filed at all.
    """
    frames = {}
    for table, directory in bundle_tables(root, config.hardware.name, config.model.name).items():
        frames[table] = table.read(directory)
        check_measurements(table, directory, frames[table])
    mlp, attention, head, steps, requests = (
        frames[table] for table in (MLP, ATTENTION, HEAD, BURST_STEPS, BURST_REQUESTS)
    )
    kernel_tables = {table.file: frames[table] for table in (MLP, ATTENTION, HEAD)}
    # a bundle that no simulation could be fitted on is not filed
    fit_engine_timing(
        steps,
        requests,
        params,
        KernelTimes(mlp, attention, head, params.model_dimensions.num_hidden_layers),
    )
    fitted = held_out_errors(mlp, attention, head, steps, params)
    grid = config.profiling
    spread = {name: _spread_pct(frame) for name, frame in kernel_tables.items()}
    constant = [
        f"{name}: {column}"
        for name, frame in kernel_tables.items()
        for column in frame.columns
        if column.endswith(".median") and frame[column].nunique() == 1
    ]
    worst_name, worst = _worst(
        {name: error for name, error in fitted.items() if name not in HOST_FITS}
    )
    worst_host_name, worst_host = _worst(
        {name: error for name, error in fitted.items() if name in HOST_FITS}
    )
    wanted = {min(n, params.max_num_batched_tokens) for n in grid.num_tokens}
    missing = sorted(wanted - set(mlp["num_tokens"]))
    modes = set(steps["graph_mode"])
    expected_modes = {"eager"} if params.graph_mode == "NONE" else {"full", "piecewise", "eager"}
    quality = {
        "measurements": _check(
            True,
            len(mlp) + len(attention) + len(head) + len(steps),
            None,
            "rows; none empty, zero or duplicated",
        ),
        "no_constant_column": _check(
            not constant,
            len(constant),
            0,
            f"columns that do not vary: {', '.join(constant) or 'none'}",
        ),
        "coverage": _check(
            not missing,
            len(missing),
            0,
            f"points of the preset's grid that are missing: {missing or 'none'}",
        ),
        "graph_modes": _check(
            expected_modes <= modes,
            sorted(modes),
            sorted(expected_modes),
            "graph modes that the bursts provoked",
        ),
        "spread": _check(
            max(spread.values()) <= grid.max_spread_pct,
            spread,
            grid.max_spread_pct,
            "median over grid points of standard deviation / median of the repeats, per cent",
        ),
        "held_out_error": _check(
            worst <= grid.max_held_out_error_pct,
            round(worst, 2),
            grid.max_held_out_error_pct,
            f"median error on held-out points of the worst kernel ({worst_name}), per cent",
        ),
        "held_out_host_error": _check(
            worst_host <= MAX_HOST_ERROR_PCT,
            round(worst_host, 2),
            MAX_HOST_ERROR_PCT,
            f"median error, by batch size, of the worst fit of the host ({worst_host_name}) on "
            f"bursts not seen, per cent",
        ),
    }
    return quality, fitted


def held_out_errors(
    mlp: pd.DataFrame,
    attention: pd.DataFrame,
    head: pd.DataFrame,
    steps: pd.DataFrame,
    params: EngineParams,
) -> dict[str, FitError]:
    """Median and largest error, in per cent, of each operator at every other inner grid point, left
    out of its fit; of the host's fits, made on even bursts, on odd ones.
    """
    errors: dict[str, FitError] = {}
    layers = params.model_dimensions.num_hidden_layers
    inner = np.arange(1, len(mlp) - 1, 2)
    seen = KernelTimes(
        mlp.drop(index=mlp.sort_values("num_tokens").index[inner]), attention, head, layers
    )
    for operator in LAYER_OPERATORS:
        curve = seen.operator_curve(operator)
        left_out = mlp.sort_values("num_tokens").iloc[inner]
        errors[operator] = _errors(
            [curve(n) for n in left_out["num_tokens"]], left_out[f"time_stats.{operator}.median"]
        )
    for kind, first, second, operator in (
        ("decode", "batch_size", "kv_cache_size", "attn_decode"),
        ("prefill", "kv_cache_size", "prefill_chunk_size", "attn_prefill"),
    ):
        points = attention[(attention["prefill_chunk_size"] == 0) == (kind == "decode")]
        values = np.sort(points[second].unique())[1:-1:2]
        held = points[points[second].isin(values)]
        kept = attention.drop(index=held.index)
        surface = getattr(KernelTimes(mlp, kept, head, layers), f"{kind}_attention")
        enough = held[
            held[first].isin(
                kept.loc[points.index.difference(held.index)]
                .groupby(first)
                .filter(lambda g: len(g) > 1)[first]
            )
        ]
        if len(enough):
            errors[operator] = _errors(
                [surface(x, y) for x, y in zip(enough[first], enough[second], strict=True)],
                enough[f"time_stats.{operator}.median"],
            )
    errors |= _host_errors(steps, params, KernelTimes(mlp, attention, head, layers))
    return errors


def _host_errors(
    steps: pd.DataFrame, params: EngineParams, kernels: KernelTimes
) -> dict[str, FitError]:
    even = derive_steps(steps[steps["burst"] % 2 == 0], params, kernels)
    odd = derive_steps(steps[steps["burst"] % 2 == 1], params, kernels)
    errors = {
        name: _level_errors(fit_time(even, REQUEST_FEATURES, f"{name}_ms"), odd, f"{name}_ms")
        for name in HOST_FITS
    }
    return {name: error for name, error in errors.items() if error}


def _level_errors(fitted: FittedTime, rows: pd.DataFrame, target: str) -> FitError | None:
    predicted = [fitted(*values) for values in rows[list(fitted.features)].itertuples(index=False)]
    # one step of the host jitters; what counts is the level at each batch size
    by_size = pd.DataFrame(
        {"n": rows["num_requests"], "predicted": predicted, "measured": rows[target]}
    ).groupby("n")
    frame = by_size.median()[by_size.size() >= MIN_STEPS_OF_A_SIZE]
    return _errors(frame["predicted"], frame["measured"]) if len(frame) else None


def _errors(predicted: Any, measured: "pd.Series") -> FitError:
    measured = np.asarray(measured, dtype=float)
    error = np.abs(np.asarray(predicted, dtype=float) - measured)
    relative = np.where(error < NEGLIGIBLE_MS, 0.0, error / measured) * 100
    return FitError(
        median=round(float(np.median(relative)), 3),
        max=round(float(relative.max()), 3),
        points=len(measured),
    )


def _worst(errors: dict[str, FitError]) -> tuple[str, float]:
    return max(
        ((name, error.median) for name, error in errors.items()),
        key=lambda item: item[1],
        default=("none", 0.0),
    )


def _spread_pct(frame: pd.DataFrame) -> float:
    spreads = []
    for column in frame.columns:
        if column.endswith(".median"):
            std = frame[column.removesuffix("median") + "std"]
            spreads.append((std / frame[column]).dropna())
    return round(float(pd.concat(spreads).median()) * 100, 2)


def _check(passed: bool, value: Any, bound: Any, what: str) -> QualityCheck:
    return QualityCheck(passed=bool(passed), value=value, bound=bound, what=what)

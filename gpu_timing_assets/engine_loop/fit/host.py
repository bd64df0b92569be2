"""Fits `host.HostTiming` on what the bursts recorded of the engine's loop and its workers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.engine_loop.fit.fit_time import MIN_ROWS, fit_time
from gpu_timing_assets.engine_loop.fit.rows import SUSTAINED
from gpu_timing_assets.engine_loop.fitted_time import FittedTime
from gpu_timing_assets.engine_loop.host import WINDOW_S, HostPace, HostTiming

# a prompt costs a step its own path through the scheduler; the second one hardly more than a decode
REQUEST_FEATURES = ("num_requests", "with_prompt")
# of a synchronous engine the execution holds the model's computation
EXECUTE_FEATURES = {True: ("num_tokens", "num_requests"), False: ("kernel_ms", "num_requests")}
# the parts that are the host's alone, at whose expense its pace is seen
PACED = ("schedule", "execute", "sample", "update")
FEATURES: Mapping[str, Sequence[str]] = {
    "schedule": REQUEST_FEATURES,
    "dispatch": ("num_requests",),
    "sample": ("num_requests",),
    "result": ("num_requests",),
    "update": REQUEST_FEATURES,
    "gap": ("num_requests",),
}


def fit_host_timing(
    derived: pd.DataFrame, rows: Mapping[str, pd.DataFrame], params: EngineParams, wake_up_ms: float
) -> HostTiming:
    """From `derive_steps` and `fit_rows`, on the bursts whose requests come while others are
    served: an engine that is woken for each request, or decodes alone, finds the host slower.

    Raises ValueError if a part has too few rows.
    """
    sustained = derived[derived["kind"].isin(SUSTAINED)]
    first = _fit_parts(sustained, rows, params, wake_up_ms)
    pace = host_pace(sustained, first)
    # each part against its share of the host's pace: what is left is the part's own spread
    steps = sustained.assign(pace=_pace_of(sustained, first))
    at_pace = steps.assign(**{f"{part}_ms": steps[f"{part}_ms"] / steps["pace"] for part in PACED})
    fitted = _fit_parts(at_pace, rows, params, wake_up_ms)
    return replace(fitted, pace=pace)


def host_pace(sustained: pd.DataFrame, timing: HostTiming) -> HostPace:
    """The host's pace in each window of the bursts that has steps, in their order."""
    by_window = _by_window(sustained, timing)
    windows = by_window["measured"].sum() / by_window["fitted"].sum()
    return HostPace(windows.to_numpy(dtype=float)) if len(windows) else HostPace.steady()


def _pace_of(sustained: pd.DataFrame, timing: HostTiming) -> pd.Series:
    by_window = _by_window(sustained, timing)
    pace: pd.Series = by_window["measured"].transform("sum") / by_window["fitted"].transform("sum")
    return pace


def _by_window(steps: pd.DataFrame, timing: HostTiming) -> "pd.core.groupby.DataFrameGroupBy":
    fitted = sum(_values(getattr(timing, part), steps) for part in PACED if part != "execute")
    for mode, execute in timing.execute.items():
        of_mode = steps["graph_mode"] == mode
        fitted += _values(execute, steps) * of_mode
    measured = sum(steps[f"{part}_ms"] for part in PACED)
    known = steps["graph_mode"].isin(timing.execute)
    begin_ns = steps.groupby("burst")["schedule_begin_ns"].transform("min")
    return pd.DataFrame(
        {
            "burst": steps["burst"],
            "window": ((steps["schedule_begin_ns"] - begin_ns) / 1e9 / WINDOW_S).astype(int),
            "measured": measured.where(known, fitted),
            "fitted": fitted,
        }
    ).groupby(["burst", "window"])


def _values(fitted: FittedTime, steps: pd.DataFrame) -> np.ndarray:
    features = steps[list(fitted.features)].to_numpy(dtype=float)
    values: np.ndarray = fitted.coefficients[0] + features @ np.array(fitted.coefficients[1:])
    return values


def _fit_parts(
    sustained: pd.DataFrame,
    rows: Mapping[str, pd.DataFrame],
    params: EngineParams,
    wake_up_ms: float,
) -> HostTiming:
    execute_features = EXECUTE_FEATURES[params.async_scheduling]
    parts = {
        name: fit_time(sustained.dropna(subset=[f"{name}_ms"]), features, f"{name}_ms")
        for name, features in FEATURES.items()
        if name != "gap"
    }
    return HostTiming(
        **parts,
        gap=fit_time(rows["gap"], FEATURES["gap"], "gap_ms"),
        execute=_by_mode(sustained[~sustained["after_idle"]], execute_features),
        execute_after_idle=_by_mode(rows["after_idle"], execute_features),
        wake_up_ms=wake_up_ms,
        pace=HostPace.steady(),
    )


def _by_mode(rows: pd.DataFrame, features: Sequence[str]) -> dict[str, FittedTime]:
    """A fit of the execution for each graph mode with enough rows."""
    return {
        str(mode): fit_time(group, features, "execute_ms")
        for mode, group in rows.groupby("graph_mode")
        if len(group) >= MIN_ROWS
    }

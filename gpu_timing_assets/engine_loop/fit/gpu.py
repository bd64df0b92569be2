"""Fits `gpu.GpuScale` on a bundle's bursts."""

from dataclasses import replace

import numpy as np
import pandas as pd

from gpu_timing_assets.engine_loop.fit.fit_time import MIN_ROWS, fit_time, sample_of
from gpu_timing_assets.engine_loop.fitted_time import FittedTime
from gpu_timing_assets.engine_loop.gpu import UNSCALED, GpuScale
from gpu_timing_assets.engine_loop.interpolation import Curve, Surface

# a graph whose times spread more, or that takes longer than its kernels, is paced by the host
HOST_BOUND_SPREAD = 0.12
HOST_BOUND_RATIO = 1.3
CONTEXT_BINS = (0, 48, 96, 192, 384, 768, 1536, 3072, 1 << 30)
IN_A_ROW_MS = (0, 100, 200, 400, 800, 1600, 1 << 30)


def fit_gpu_scale(
    derived: pd.DataFrame, steady: pd.DataFrame, launch: dict[str, FittedTime]
) -> GpuScale:
    """From an asynchronous engine's `derive_steps`, `steady_decode_steps`, launches by mode."""
    full, ratios = _fit_full(derived, steady, launch["full"])
    launch_full_ms = launch["full"].coefficients[0]
    # a launch that never showed was always outlasted by the GPU
    launch_ms = pd.Series(
        [
            launch[mode](tokens, requests) if mode in launch else 0.0
            for mode, tokens, requests in zip(
                derived["graph_mode"], derived["num_tokens"], derived["num_requests"], strict=True
            )
        ],
        index=derived.index,
    )
    other_ms = derived["kernel_ms"] - derived["decode_attention_ms"]
    steps = derived.assign(
        mixed=derived["graph_mode"] != "full",
        launch_ms=launch_ms,
        other_ms=other_ms,
        attention_share=derived["decode_attention_ms"] / other_ms,
    )
    behind_decode = _mixed_behind_decode(steps, full)
    if len(behind_decode) < MIN_ROWS:
        # no kernels here outlast their launch: it is what starts them, as for a full graph
        return replace(GpuScale.none(), full=full, mixed_start_ms=launch_full_ms, ratios=ratios)
    ratio = behind_decode["own_ms"] / behind_decode["other_ms"]
    fitted = fit_time(behind_decode.assign(ratio=ratio), ("attention_share",), "ratio")
    scale, attention = fitted.coefficients
    outlasts = steps["kernel_ms"] > 1.3 * steps["launch_alone_ms"]
    alone = steps[steps["mixed"] & (steps["kind"] == "idle") & outlasts]
    start_ms = (
        alone["gpu_end_ms"] - scale * alone["other_ms"] - attention * alone["decode_attention_ms"]
    )
    seen = len(alone) >= MIN_ROWS
    mixed_start_ms = max(float(start_ms.median()), 0.0) if seen else launch_full_ms
    mixed = _fit_in_a_row(steps, scale, attention)
    return GpuScale(full, mixed, attention, mixed_start_ms, ratios)


def steady_decode_steps(derived: pd.DataFrame) -> pd.DataFrame:
    """Decode steps behind two others of the same burst; `ratio`: result interval / kernels;
    `host_bound`: whether the host sets the pace of their padded size.
    """
    full = derived["graph_mode"] == "full"
    two_before = (
        full.shift(1, fill_value=False)
        & full.shift(2, fill_value=False)
        & (derived["burst"] == derived["burst"].shift(2))
    )
    steady = derived[full & two_before & derived["wait_ms"].notna()]
    ratio = steady["result_interval_ms"] / steady["kernel_ms"]
    pace = ratio.groupby(steady["padded_tokens"])
    spread = (pace.quantile(0.8) - pace.quantile(0.2)) / pace.median()
    host_bound = (spread > HOST_BOUND_SPREAD) | (pace.median() > HOST_BOUND_RATIO)
    host_bound_sizes = spread.index[host_bound]
    return steady.assign(ratio=ratio, host_bound=steady["padded_tokens"].isin(host_bound_sizes))


def _fit_full(
    derived: pd.DataFrame, steady: pd.DataFrame, launch: FittedTime
) -> tuple[Surface, np.ndarray]:
    own_launch = launch.coefficients[0] + sum(launch.coefficients[1:]) * derived["num_requests"]
    # a result that is waited for longer than a launch takes comes when the GPU gives it
    awaited = (derived["next_wait_ms"] > 1.3 * own_launch) & (derived["next_graph_mode"] == "full")
    awaited &= awaited.shift(1, fill_value=False)
    paced = steady[~steady["host_bound"] & awaited[steady.index]]
    shown = _by_size_and_context(paced, 0.5)
    # paced by the host: the GPU takes no longer than its quick intervals, nor than its kernels
    hidden = _by_size_and_context(steady[steady["host_bound"]], 0.2)
    cells = pd.concat([shown, hidden.assign(ratio=hidden["ratio"].clip(upper=1.0))])
    if not len(cells):
        return UNSCALED, np.ones(1)
    full = Surface.of(cells, "padded_tokens", "context", "ratio", extend=False)
    if len(paced) < MIN_ROWS:
        return full, np.ones(1)
    return full, sample_of((paced["ratio"] / _at(full, paced)).clip(0.7, 1.5).to_numpy())


def _at(full: Surface, steps: pd.DataFrame) -> list[float]:
    context = steps["kv_tokens"] / steps["num_requests"]
    return [full(size, at) for size, at in zip(steps["padded_tokens"], context, strict=True)]


def _by_size_and_context(steps: pd.DataFrame, quantile: float) -> pd.DataFrame:
    """`ratio`'s quantile and the median `context` of each size and bin that has enough steps."""
    context = steps["kv_tokens"] / steps["num_requests"]
    cells = steps.assign(context=context, bin=pd.cut(context, CONTEXT_BINS, labels=False)).groupby(
        ["padded_tokens", "bin"]
    )
    ratio = cells["ratio"].quantile(quantile)
    found = pd.DataFrame({"context": cells["context"].median(), "ratio": ratio})
    return found[cells.size() >= MIN_ROWS].reset_index()


def _mixed_behind_decode(steps: pd.DataFrame, full: Surface) -> pd.DataFrame:
    """Mixed steps behind a decode step whose result waited for the GPU; `own_ms`: theirs on it."""
    graph_ms = steps["kernel_ms"] * _at(full, steps)
    before, two_before = (steps["mixed"].shift(n, fill_value=True) for n in (1, 2))
    follows = steps["interval_ms"].notna() & steps["interval_ms"].shift(1).notna()
    # when the decode step before is done: its kernels after those of the one before that
    waited_ms = (steps["update_begin_ns"].shift(2) - steps["schedule_end_ns"]) / 1e6
    free_ms = waited_ms + graph_ms.shift(1)
    own_ms = steps["gpu_end_ms"] - free_ms
    paced = free_ms + steps["kernel_ms"] > 1.15 * steps["launch_ms"]
    paced &= (own_ms < 1.5 * steps["kernel_ms"]) & free_ms.between(0, 1e3)
    rows = steps["mixed"] & ~before & ~two_before & follows & paced
    return steps.assign(own_ms=own_ms)[rows & (steps["next_graph_mode"] == "full")]


def _fit_in_a_row(steps: pd.DataFrame, scale: float, attention: float) -> Curve:
    """`GpuScale.mixed`: `scale` at 0, beyond it what steps without a pause between them show."""
    row = (~steps["mixed"] | steps["interval_ms"].isna()).cumsum()
    mixed_ms = steps["kernel_ms"].where(steps["mixed"], 0.0)
    so_far_ms = mixed_ms.groupby(row).cumsum() - steps["kernel_ms"]
    outlasts = steps["mixed"] & (steps["kernel_ms"] > steps["launch_ms"])
    paced = outlasts & outlasts.shift(1, fill_value=False)
    paced &= steps["kernel_ms"] > 1.3 * steps["launch_ms"]
    # the results of the first steps of a row come late, behind the launch of the next
    paced &= row == row.shift(3)
    own_ms = steps["result_interval_ms"] - attention * steps["decode_attention_ms"]
    ratio = own_ms / steps["other_ms"]
    cells = pd.DataFrame(
        {"bin": pd.cut(so_far_ms, IN_A_ROW_MS, labels=False), "ms": so_far_ms, "ratio": ratio}
    )[paced]
    medians = cells.groupby("bin").median()[cells.groupby("bin").size() >= MIN_ROWS]
    return Curve((0.0, *medians["ms"].tolist()), (scale, *medians["ratio"].tolist()), extend=False)

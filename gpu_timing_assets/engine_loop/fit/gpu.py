"""Fits `gpu.GpuScale` on the steps that were observed on the GPU.

Few factors, each drawn towards what is known without it: towards 1 for all steps, towards that for
a batch size, as if so many steps had shown it (`PRIOR_STEPS`). Deviations are absolute, so that a
correction that the steps do not support stays exactly where it was, and none is decided by a few
outliers. Bounds are physics': a graph does not halve its kernels' time, nor double it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gpu_timing_assets.engine_loop.fit.fit_time import (
    MIN_ROWS,
    level_interval_pct,
    residual_pct,
    sample_of,
)
from gpu_timing_assets.engine_loop.gpu import GpuScale
from gpu_timing_assets.engine_loop.interpolation import Curve

PRIOR_STEPS = 8
LOWEST, HIGHEST = 0.7, 1.5
IN_A_ROW_MS = (0, 100, 200, 400, 800, 1600, 1 << 30)
# how far into execute_model the first kernel can be launched
START_SHARES = np.linspace(0.0, 1.0, 21)
FACTORS = np.sort(np.r_[np.linspace(LOWEST, HIGHEST, 161), 1.0])


@dataclass(frozen=True)
class FittedFactor:
    """A factor on kernels, the steps that it rests on, and how well they agree (see
    `FittedTime`).
    """

    value: float
    num_rows: int
    residual_pct: float
    interval_pct: float


def fit_gpu_scale(derived: pd.DataFrame) -> tuple[GpuScale, dict[str, FittedFactor]]:
    """From an asynchronous engine's `derive_steps`; and what each factor rests on."""
    is_full = derived["graph_mode"] == "full"
    full, attention, full_ratios, full_fits = _fit_full(derived[is_full])
    share, mixed, mixed_ratios, mixed_fits = _fit_mixed(derived, ~is_full)
    scale = GpuScale(full, attention, mixed, share, full_ratios, mixed_ratios)
    return scale, full_fits | mixed_fits


def _fit_full(steps: pd.DataFrame) -> tuple[Curve, float, np.ndarray, dict[str, FittedFactor]]:
    """`GpuScale`'s `full`, `full_attention` and `full_ratios`."""
    own_ms = _own_full_ms(steps)
    attention_ms = steps["decode_attention_ms"].to_numpy()
    other_ms = (steps["kernel_ms"] - steps["decode_attention_ms"]).to_numpy()
    sizes, attention = steps["padded_tokens"].to_numpy(), 1.0
    factors = np.ones(len(steps))
    by_size: dict[int, float] = {}
    # each of the two is soon where the other leaves it
    for _ in range(4):
        ratios = own_ms / (other_ms + attention * attention_ms)
        level = drawn_to(1.0, ratios)
        by_size = _by_size(ratios, sizes, level)
        factors = np.array([by_size[int(size)] for size in sizes])
        # of the attention: by as much as it weighs in its step
        left = (own_ms / factors - other_ms) / np.maximum(attention_ms, 1e-9)
        attention = drawn_to(1.0, left, attention_ms / (other_ms + attention_ms))
    ratios = own_ms / factors / (other_ms + attention * attention_ms)
    curve = Curve(
        tuple(map(float, by_size)) or (0.0,), tuple(by_size.values()) or (1.0,), extend=False
    )
    fits = {
        f"full graph of {size}": _fitted(by_size[size], ratios, sizes == size, steps["burst"])
        for size in by_size
    }
    fits["attention in full graphs"] = _fitted(attention, ratios, sizes > 0, steps["burst"])
    return curve, attention, _spread(ratios), fits


def _by_size(ratios: np.ndarray, sizes: np.ndarray, level: float) -> dict[int, float]:
    """A factor for each size, drawn to its neighbours' as far as known, to `level` else."""
    of_size = {int(size): ratios[sizes == size] for size in np.unique(sizes)}
    alone = [drawn_to(level, found) for found in of_size.values()]
    counts = [len(found) for found in of_size.values()]
    factors = {}
    for at, (size, found) in enumerate(of_size.items()):
        beside = [other for other in (at - 1, at + 1) if 0 <= other < len(alone)]
        known = PRIOR_STEPS + sum(counts[other] for other in beside)
        around = sum(counts[other] * alone[other] for other in beside)
        factors[size] = drawn_to((PRIOR_STEPS * level + around) / known, found)
    return factors


def _fit_mixed(
    derived: pd.DataFrame, mixed: pd.Series
) -> tuple[float, Curve, np.ndarray, dict[str, FittedFactor]]:
    """`GpuScale`'s `mixed_start_share`, `mixed` and `mixed_ratios`.

    A step ends at max(start + factor · kernels, its last launch): one that its launches hold up
    bounds the factor from above and says nothing else, and no threshold has to sort them.
    """
    steps = derived.assign(in_a_row_ms=_in_a_row_ms(derived, mixed))[mixed]
    bins = pd.cut(steps["in_a_row_ms"], IN_A_ROW_MS, labels=False, right=False)
    groups = [steps[bins == number] for number in sorted(bins.dropna().unique())]
    # the share is of the steps behind no other mixed one; the GPU is free for them soonest
    first = groups[0] if groups else steps
    losses = [(_best_factor(first, share, 1.0), share) for share in START_SHARES]
    (_, level), share = min(losses) if len(first) else ((0.0, 1.0), 0.0)
    x, y, fits, ratios = [], [], {}, []
    for group in groups:
        _, factor = _best_factor(group, share, level)
        x.append(float(group["in_a_row_ms"].median()))
        y.append(factor)
        own, seen = _own_ratios(group, share, factor)
        ratios.append(own)
        name = f"mixed steps behind {x[-1]:.0f} ms of them"
        fits[name] = _fitted(factor, own, np.ones(len(own), dtype=bool), group["burst"][seen])
    curve = Curve(tuple(x) or (0.0,), tuple(y) or (1.0,), extend=False)
    return float(share), curve, _spread(np.concatenate([*ratios, np.empty(0)])), fits


def own_full_ratios(derived: pd.DataFrame, scale: GpuScale) -> np.ndarray:
    """Measured / fitted of each full graph; shape (full graphs,)."""
    steps = derived[derived["graph_mode"] == "full"]
    columns = steps["padded_tokens"], steps["kernel_ms"], steps["decode_attention_ms"]
    fitted_ms = np.array([scale.full_ms(*step) for step in zip(*columns, strict=True)])
    ratios: np.ndarray = _own_full_ms(steps) / fitted_ms
    return ratios


def own_mixed_ratios(derived: pd.DataFrame, scale: GpuScale) -> np.ndarray:
    """Measured / fitted of the mixed steps whose kernels outlast their launches."""
    mixed = derived["graph_mode"] != "full"
    in_a_row_ms = _in_a_row_ms(derived, mixed)[mixed]
    factors = np.array([scale.mixed(ms) for ms in in_a_row_ms])
    return _own_ratios(derived[mixed], scale.mixed_start_share, factors)[0]


def _own_full_ms(steps: pd.DataFrame) -> np.ndarray:
    begin_ns = np.maximum(steps["gpu_free_ns"], steps["execute_end_ns"])
    own_ms: np.ndarray = ((steps["gpu_end_ns"] - begin_ns) / 1e6).to_numpy(dtype=float)
    return own_ms


def _in_a_row_ms(derived: pd.DataFrame, mixed: pd.Series) -> pd.Series:
    """Kernel time of the mixed steps right before each, without a pause of the GPU."""
    paused = derived["gpu_free_ns"] < derived["execute_begin_ns"]
    row = (~mixed | paused).cumsum()
    mixed_ms = derived["kernel_ms"].where(mixed, 0.0)
    in_a_row: pd.Series = mixed_ms.groupby(row).cumsum() - derived["kernel_ms"]
    return in_a_row.clip(lower=0.0)


def _best_factor(steps: pd.DataFrame, share: float, prior: float) -> tuple[float, float]:
    """`(loss, factor)` with the least absolute deviations of the steps' durations, and of the
    factor from `prior` as `PRIOR_STEPS` steps would show it.
    """
    start_ms, launched_ms, end_ms = _mixed_times_ms(steps, share)
    kernel_ms = steps["kernel_ms"].to_numpy()
    predicted = np.maximum(start_ms + FACTORS[:, None] * kernel_ms, launched_ms)
    loss = (np.abs(predicted - end_ms) / end_ms).sum(axis=1)
    loss += PRIOR_STEPS * np.abs(FACTORS - prior)
    best = int(loss.argmin())
    return float(loss[best]), float(FACTORS[best])


def _own_ratios(
    steps: pd.DataFrame, share: float, factor: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Measured / fitted of the steps whose kernels the fit sees outlast their launches, and which
    those are.
    """
    start_ms, launched_ms, end_ms = _mixed_times_ms(steps, share)
    fitted_ms = factor * steps["kernel_ms"].to_numpy()
    seen = start_ms + fitted_ms > launched_ms
    return ((end_ms - start_ms) / fitted_ms)[seen], seen


def _mixed_times_ms(steps: pd.DataFrame, share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`(first kernel, last launch, end)` after the worker began; shapes (steps,)."""
    begin_ns = steps["execute_begin_ns"]
    first_ms = np.maximum(share * steps["execute_ms"], (steps["gpu_free_ns"] - begin_ns) / 1e6)
    launched_ms = (steps["sample_end_ns"] - begin_ns) / 1e6
    end_ms = (steps["gpu_end_ns"] - begin_ns) / 1e6
    return tuple(times.to_numpy(dtype=float) for times in (first_ms, launched_ms, end_ms))  # type: ignore[return-value]


def drawn_to(
    prior: float, ratios: Sequence[float] | np.ndarray, weights: np.ndarray | None = None
) -> float:
    """The weighted median of `ratios` and of `PRIOR_STEPS` that are `prior`, within the bounds."""
    values = np.r_[np.asarray(ratios, dtype=float), prior]
    weight = np.r_[np.ones(len(ratios)) if weights is None else weights, PRIOR_STEPS]
    order = np.argsort(values)
    half = np.searchsorted(np.cumsum(weight[order]), weight.sum() / 2)
    return float(np.clip(values[order][half], LOWEST, HIGHEST))


def _fitted(value: float, ratios: np.ndarray, rows: np.ndarray, bursts: pd.Series) -> FittedFactor:
    if not rows.any():
        return FittedFactor(value, 0, 0.0, 0.0)
    interval = level_interval_pct(ratios[rows], bursts[rows])
    return FittedFactor(value, int(rows.sum()), residual_pct(ratios[rows]), interval)


def _spread(ratios: np.ndarray) -> np.ndarray:
    if len(ratios) < MIN_ROWS:
        return np.ones(1)
    return sample_of(np.clip(ratios, LOWEST, HIGHEST))

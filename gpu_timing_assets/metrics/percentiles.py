"""Means and percentiles, of whatever is measured: by linear interpolation between order
statistics, NumPy's default and definition 7 of Hyndman & Fan (1996).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

STATISTICS = ("mean", "p50", "p90", "p95", "p99")


def quantile_of(statistic: str) -> float:
    """0.99 of `p99`. Raises `ValueError` for what is not a percentile's name."""
    if not statistic.startswith("p"):
        raise ValueError(f"{statistic!r} is not a percentile: write p50, p99.9 …")
    return float(statistic[1:]) / 100


def statistics_of(values: npt.ArrayLike, names: Sequence[str] = STATISTICS) -> dict[str, float]:
    """Each of `names` (`mean`, `p50`, `p99.9` …) of all values, in their unit; NaN of nothing."""
    known = np.asarray(values, dtype=np.float64)
    if not known.size:
        return dict.fromkeys(names, float("nan"))
    percentiles = [name for name in names if name != "mean"]
    at = np.quantile(known, [quantile_of(name) for name in percentiles])
    found = {"mean": float(known.mean())} if "mean" in names else {}
    found.update((name, float(value)) for name, value in zip(percentiles, at, strict=True))
    return {name: found[name] for name in names}

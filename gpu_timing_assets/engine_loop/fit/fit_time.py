"""Fits a `FittedTime` on measurements, by least absolute deviations."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gpu_timing_assets.engine_loop.fitted_time import FittedTime

MIN_ROWS = 8
# of a sample, so that drawing is a table look-up and two bundles of different length draw alike
SAMPLE_SIZE = 1024
RESAMPLES = 400


def fit_time(rows: pd.DataFrame, features: Sequence[str], target_ms: str) -> FittedTime:
    """Fit `target_ms` on `features` by least absolute deviations with coefficients ≥ 0 (a longer
    step is not quicker).

    Solved by iteratively reweighted non-negative least squares. A feature that does not vary gets
    coefficient 0. Raises ValueError for fewer than `MIN_ROWS` rows.
    """
    if len(rows) < MIN_ROWS:
        raise ValueError(f"{len(rows)} measurements of {target_ms}, at least {MIN_ROWS} are needed")
    varying = [name for name in features if rows[name].nunique() > 1]
    columns = (rows[name].to_numpy(dtype=float) for name in varying)
    matrix = np.column_stack([np.ones(len(rows)), *columns])
    target = np.maximum(rows[target_ms].to_numpy(dtype=float), 1e-6)
    scale = matrix.max(axis=0)
    matrix = matrix / scale
    weights = np.ones(len(rows))
    solution = np.zeros(matrix.shape[1])
    for _ in range(30):
        solution = _weighted_nnls(matrix, target, weights)
        residual = np.abs(target - matrix @ solution)
        # relative deviations: the few large steps must not decide the fit of the many small ones
        weights = 1 / np.maximum(residual * target, 1e-9 * target**2 + 1e-12)
    fitted = np.maximum(matrix @ solution, 1e-6)
    by_name = dict(zip(varying, (solution / scale)[1:], strict=True))
    # weights that prefer short times leave the line low: it is moved to the measurements' median
    centre = float(np.median(target / fitted))
    coefficients = (
        float(solution[0] / scale[0]) * centre,
        *(float(by_name.get(name, 0.0)) * centre for name in features),
    )
    ratios = target / fitted / centre
    return FittedTime(
        tuple(features),
        coefficients,
        sample_of(ratios),
        len(rows),
        residual_pct=residual_pct(ratios),
        interval_pct=level_interval_pct(ratios, rows["burst"]),
    )


def sample_of(values: np.ndarray) -> np.ndarray:
    """`SAMPLE_SIZE` quantiles of `values`, sorted."""
    sample: np.ndarray = np.quantile(values, (np.arange(SAMPLE_SIZE) + 0.5) / SAMPLE_SIZE)
    return sample


def residual_pct(ratios: np.ndarray) -> float:
    """Median deviation of measured / fitted from 1, in per cent."""
    return float(np.median(np.abs(ratios - 1))) * 100


def level_interval_pct(ratios: np.ndarray, bursts: pd.Series) -> float:
    """Half the 95 % bootstrap interval of the level of measured / fitted, in per cent.

    Bursts are resampled, not steps: the steps of a burst are fast or slow together.
    """
    by_burst = pd.DataFrame({"burst": bursts.to_numpy(), "ratio": ratios}).groupby("burst")["ratio"]
    medians, counts = by_burst.median().to_numpy(), by_burst.size().to_numpy()
    drawn = np.random.default_rng(0).integers(0, len(medians), (RESAMPLES, len(medians)))
    levels = (medians * counts)[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(levels, (0.025, 0.975))
    return float(high - low) / 2 * 100


def _weighted_nnls(matrix: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """argmin over x ≥ 0 of Σ weights (matrix x − target)²; shapes (rows, features), (rows,),
    (rows,).

    Through the normal equations' Cholesky factor: a few features, thousands of rows.
    """
    from scipy.optimize import nnls

    weighted = matrix * weights[:, None]
    gram = matrix.T @ weighted
    factor = np.linalg.cholesky(gram + 1e-12 * np.trace(gram) * np.eye(len(gram)))
    solution: np.ndarray = nnls(factor.T, np.linalg.solve(factor, weighted.T @ target))[0]
    return solution

"""The engine's host time and the client's edges, fitted on the bursts of a bundle.

Every time is a linear function of what is in the step, fitted to the median (least absolute
deviations), and the ratio of what was measured to it, kept as a sample: a simulation draws from
that sample, because launches of the same step differ by a factor of two and the tail of TTFT is
made of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

MIN_ROWS = 8
# of a sample, so that drawing is a table look-up and two bundles of different length draw alike
SAMPLE_SIZE = 1024


@dataclass(frozen=True)
class FittedTime:
    """`coefficients[0] + Σ coefficients[i + 1] · feature[i]`, in ms, times a ratio drawn from
    `ratios`.

    `ratios`: shape (SAMPLE_SIZE,), sorted quantiles of measured / fitted. `num_rows`: how many
    measurements.
    """

    features: tuple[str, ...]
    coefficients: tuple[float, ...]
    ratios: np.ndarray
    num_rows: int

    def __call__(self, *features: float) -> float:
        value = self.coefficients[0]
        for coefficient, feature in zip(self.coefficients[1:], features, strict=True):
            value += coefficient * feature
        return value


def fit_time(rows: pd.DataFrame, features: Sequence[str], target_ms: str) -> FittedTime:
    """Fit `target_ms` on `features` by least absolute deviations with coefficients ≥ 0 (a longer
    step is not quicker).

    Solved by iteratively reweighted non-negative least squares. A feature that does not vary gets
    coefficient 0. Raises ValueError for fewer than `MIN_ROWS` rows.
    """
    if len(rows) < MIN_ROWS:
        raise ValueError(f"{len(rows)} measurements of {target_ms}, at least {MIN_ROWS} are needed")
    varying = [name for name in features if rows[name].nunique() > 1]
    matrix = np.column_stack(
        [np.ones(len(rows)), *(rows[name].to_numpy(dtype=float) for name in varying)]
    )
    target = rows[target_ms].to_numpy(dtype=float)
    scale = matrix.max(axis=0)
    matrix = matrix / scale
    weights = np.ones(len(rows))
    solution = np.zeros(matrix.shape[1])
    for _ in range(30):
        solution = _weighted_nnls(matrix, target, weights)
        residual = np.abs(target - matrix @ solution)
        # relative deviations, so that the few large steps do not decide the fit of the many small
        # ones
        weights = 1 / np.maximum(residual * target, 1e-9 * target**2 + 1e-12)
    fitted = np.maximum(matrix @ solution, 1e-6)
    by_name = dict(zip(varying, (solution / scale)[1:], strict=True))
    # weights that prefer short times leave the line a little low: it is moved so that half of the
    # measurements lie above it
    centre = float(np.median(target / fitted))
    coefficients = (
        float(solution[0] / scale[0]) * centre,
        *(float(by_name.get(name, 0.0)) * centre for name in features),
    )
    return FittedTime(tuple(features), coefficients, sample_of(target / fitted / centre), len(rows))


def _weighted_nnls(matrix: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """argmin over x ≥ 0 of Σ weights (matrix x − target)²; shapes (rows, features), (rows,),
    (rows,).

    Through the normal equations' Cholesky factor: a few features, thousands of rows.
    """
    from scipy.optimize import nnls

    weighted = matrix * weights[:, None]
    gram = matrix.T @ weighted
    factor = np.linalg.cholesky(gram + 1e-12 * np.trace(gram) * np.eye(len(gram)))
    return nnls(factor.T, np.linalg.solve(factor, weighted.T @ target))[0]


def sample_of(values: np.ndarray) -> np.ndarray:
    """`SAMPLE_SIZE` quantiles of `values`, sorted."""
    return np.quantile(values, (np.arange(SAMPLE_SIZE) + 0.5) / SAMPLE_SIZE)

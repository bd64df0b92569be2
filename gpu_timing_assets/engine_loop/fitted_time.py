"""A time fitted on measurements, and drawn from them.

Every time is a linear function of what is in the step, fitted to the median, and the ratio of what
was measured to it, kept as a sample: a simulation draws from that sample, because launches of the
same step differ by a factor of two and the tail of TTFT is made of them.
"""

from dataclasses import dataclass

import numpy as np

STRATA = 64


@dataclass(frozen=True)
class FittedTime:
    """`coefficients[0] + Σ coefficients[i + 1] · feature[i]`, in ms, times a ratio drawn from
    `ratios`.

    `ratios`: sorted quantiles of measured / fitted, shape (ratios,). `num_rows`: how many
    measurements. `residual_pct`: median deviation of one of them; `interval_pct`: half the 95 %
    interval of the fit's level.
    """

    features: tuple[str, ...]
    coefficients: tuple[float, ...]
    ratios: np.ndarray
    num_rows: int
    residual_pct: float = 0.0
    interval_pct: float = 0.0

    def __call__(self, *features: float) -> float:
        value = self.coefficients[0]
        for coefficient, feature in zip(self.coefficients[1:], features, strict=True):
            value += coefficient * feature
        return value


class DrawnRatio:
    """Each call returns the next draw from a sorted sample of ratios.

    Of each `STRATA` draws there is one from each part of the sample, in random order: few draws
    then show its whole distribution.
    """

    __slots__ = ("_block", "_ratios", "_rng")

    def __init__(self, ratios: np.ndarray, rng: np.random.Generator) -> None:
        self._ratios, self._rng = ratios, rng
        self._block: list[float] = []

    def __call__(self) -> float:
        if not self._block:
            drawn = (self._rng.permutation(STRATA) + self._rng.random(STRATA)) / STRATA
            self._block = self._ratios[(drawn * len(self._ratios)).astype(int)].tolist()
        return self._block.pop()


class DrawnTime:
    """A `FittedTime` of one or two features; each call returns a drawn time in seconds."""

    __slots__ = ("_first", "_level", "_ratio", "_second")

    def __init__(self, fitted: FittedTime, rng: np.random.Generator) -> None:
        level, first, *second = (coefficient / 1e3 for coefficient in fitted.coefficients)
        self._level, self._first, self._second = level, first, second[0] if second else 0.0
        self._ratio = DrawnRatio(fitted.ratios, rng)

    def __call__(self, first: float, second: float = 0.0) -> float:
        return (self._level + self._first * first + self._second * second) * self._ratio()

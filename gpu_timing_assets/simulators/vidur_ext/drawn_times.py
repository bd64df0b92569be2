"""Times drawn from a fit: its level for what is in the step, times a ratio from its sample."""

import numpy as np

from gpu_timing_assets.engine_loop.host_times import FittedTime

BLOCK_SIZE = 4096


class DrawnRatio:
    """Each call returns the next draw from a sample of ratios; drawn in blocks."""

    __slots__ = ("_block", "_ratios", "_rng")

    def __init__(self, ratios: np.ndarray, rng: np.random.Generator) -> None:
        self._ratios, self._rng = ratios, rng
        self._block: list[float] = []

    def __call__(self) -> float:
        if not self._block:
            self._block = self._ratios[
                self._rng.integers(0, len(self._ratios), BLOCK_SIZE)
            ].tolist()
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

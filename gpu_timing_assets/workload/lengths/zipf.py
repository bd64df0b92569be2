"""Lengths by a power law."""

from typing import Literal

from pydantic import Field

from gpu_timing_assets.workload.draw_context import DrawContext
from gpu_timing_assets.workload.lengths.bounds import BoundedLengths
from gpu_timing_assets.workload.random_streams import RandomStream
from gpu_timing_assets.workload.requests import Integers


class ZipfLengths(BoundedLengths):
    """A power law: the probability of k tokens is ∝ k^−exponent between the bounds."""

    kind: Literal["zipf"]

    maximum: int = Field(ge=1, le=10_000_000)
    """Longest length in tokens."""

    exponent: float = Field(gt=0, le=10)
    """Exponent of the power law: the larger, the more short lengths."""

    def draw(self, stream: RandomStream, count: int, context: DrawContext) -> Integers:
        import numpy as np

        from gpu_timing_assets.workload.exact_math import exp, log

        values = np.arange(self.minimum, self.maximum + 1, dtype=np.int64)
        cumulative = np.cumsum(exp(-self.exponent * log(values.astype(np.float64))))
        drawn = stream.uniform(count) * cumulative[-1]
        return values[np.searchsorted(cumulative, drawn, side="left")]


PLUGIN = ZipfLengths

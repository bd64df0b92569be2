"""Lognormal lengths."""

from typing import Literal

from pydantic import Field

from gpu_timing_assets.workload.draw_context import DrawContext
from gpu_timing_assets.workload.lengths.bounds import BoundedLengths
from gpu_timing_assets.workload.random_streams import RandomStream
from gpu_timing_assets.workload.requests import Integers


class LognormalLengths(BoundedLengths):
    """Many short lengths and a long tail: exp(N(ln median, sigma²)), clipped to the bounds."""

    kind: Literal["lognormal"]

    median: float = Field(gt=0, le=2**31)
    """Median length in tokens, before clipping."""

    sigma: float = Field(ge=0, le=8)
    """Standard deviation of the length's logarithm: 0 makes all alike, 1 puts two thirds within a
    factor e of the median."""

    def draw(self, stream: RandomStream, count: int, context: DrawContext) -> Integers:
        import numpy as np

        from gpu_timing_assets.workload.exact_math import exp, log, normal_quantile

        logarithm = log(self.median) + self.sigma * normal_quantile(stream.uniform(count))
        # clipped before it is rounded, so that a wide tail cannot leave the integers
        tokens = np.clip(exp(np.clip(logarithm, -1.0, 40.0)), self.minimum, self.maximum)
        return np.rint(tokens).astype(np.int64)


PLUGIN = LognormalLengths

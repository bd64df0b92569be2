"""All lengths the same."""

from typing import Literal

from gpu_timing_assets.config.workload import LengthProcess, Tokens
from gpu_timing_assets.workload.draw_context import DrawContext
from gpu_timing_assets.workload.random_streams import RandomStream
from gpu_timing_assets.workload.requests import Integers


class FixedLengths(LengthProcess):
    """All of one length."""

    kind: Literal["fixed"]

    tokens: Tokens
    """Length in tokens."""

    def draw(self, stream: RandomStream, count: int, context: DrawContext) -> Integers:
        import numpy as np

        return np.full(count, self.tokens, dtype=np.int64)


PLUGIN = FixedLengths

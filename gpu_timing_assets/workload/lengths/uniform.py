"""All lengths equally likely."""

from typing import Literal

from gpu_timing_assets.workload.draw_context import DrawContext
from gpu_timing_assets.workload.lengths.bounds import BoundedLengths
from gpu_timing_assets.workload.random_streams import RandomStream
from gpu_timing_assets.workload.requests import Integers


class UniformLengths(BoundedLengths):
    """Each length between the bounds is as likely."""

    kind: Literal["uniform"]

    def draw(self, stream: RandomStream, count: int, context: DrawContext) -> Integers:
        span = self.maximum - self.minimum + 1
        return self.minimum + (stream.uniform(count) * span).astype("int64")


PLUGIN = UniformLengths

"""Lengths as a trace has them."""

from typing import Literal

from gpu_timing_assets.config.workload import Tokens, TraceSelection
from gpu_timing_assets.workload.draw_context import DrawContext
from gpu_timing_assets.workload.lengths.bounds import BoundedLengths
from gpu_timing_assets.workload.random_streams import RandomStream
from gpu_timing_assets.workload.requests import Integers


class EmpiricalLengths(BoundedLengths):
    """Drawn, with replacement, from one column of a trace, and clipped to the bounds."""

    kind: Literal["empirical"]

    maximum: Tokens = 2**31 - 1
    """Longest length in tokens."""

    trace: TraceSelection
    """Trace that the lengths are drawn from, and which of its requests."""

    column: Literal["num_prefill_tokens", "num_decode_tokens"]
    """Column of the trace: its prompts' lengths, or its outputs'."""

    @property
    def recorded(self) -> TraceSelection:
        return self.trace

    def draw(self, stream: RandomStream, count: int, context: DrawContext) -> Integers:
        requests = context.trace(self.trace).requests_with_lengths()
        observed: Integers = getattr(requests, self.column)
        drawn = observed[(stream.uniform(count) * len(observed)).astype("int64")]
        return drawn.clip(self.minimum, self.maximum)


PLUGIN = EmpiricalLengths

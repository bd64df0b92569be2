"""How long the kernels of a step take inside the engine, of what they take one by one.

A decode step replays one captured graph. A mixed step (prompt tokens, piecewise or eager) runs the
attention of its decoding requests in one kernel with that of its prompts, where it takes longer
than on its own; and a GPU at its power limit clocks down as prefill goes on.
"""

from dataclasses import dataclass

import numpy as np

from gpu_timing_assets.engine_loop.interpolation import Curve, Surface

UNSCALED = Surface((1.0,), (Curve((1.0,), (1.0,)),))


@dataclass(frozen=True)
class GpuScale:
    """Factors on the kernels of a step as they were measured one by one.

    `full`: of a full graph, by padded batch size and tokens of context a request. `mixed`: of a
    mixed step without the attention of its decoding requests, by the milliseconds of mixed kernels
    right before it (0: it follows a decode step, or nothing); `mixed_decode_attention`: of that
    attention. `mixed_start_ms`: schedule's end → first kernel of a mixed step, on a GPU that is
    free. `ratios`: spread of the full graphs that the GPU paced, shape (ratios,).
    """

    full: Surface
    mixed: Curve
    mixed_decode_attention: float
    mixed_start_ms: float
    ratios: np.ndarray

    @classmethod
    def none(cls) -> "GpuScale":
        """Kernels as they were measured, for an engine that waits for each step."""
        return cls(UNSCALED, Curve((0.0,), (1.0,)), 1.0, 0.0, np.ones(1))

    def mixed_ms(self, kernel_ms: float, decode_attention_ms: float, in_a_row_ms: float) -> float:
        return (
            self.mixed(in_a_row_ms) * (kernel_ms - decode_attention_ms)
            + self.mixed_decode_attention * decode_attention_ms
        )

"""How long the kernels of a step take inside the engine, of what they take one by one.

A decode step replays one captured graph, which starts when the step before it is done and its own
launch has returned. A mixed step (prompt tokens, piecewise or eager) is launched kernel by kernel:
it ends when its kernels are done, but not before the last of them was launched; and a GPU at its
power limit clocks down as prefill goes on.
"""

from dataclasses import dataclass

import numpy as np

from gpu_timing_assets.engine_loop.interpolation import Curve


@dataclass(frozen=True)
class GpuScale:
    """Factors on the kernels of a step as they were measured one by one.

    `full`: of a full graph, by padded batch size; of it `full_attention`: of the attention of its
    requests, whose contexts differ where the kernel was timed with equal ones. `mixed`: of a mixed
    step, by the milliseconds of mixed kernels right before it (0: it follows a decode step, or
    nothing). `mixed_start_share`: of the host's time in `execute_model`, what passes before the
    first kernel of a mixed step is launched. `full_ratios`, `mixed_ratios`: spread of single steps
    around that, shape (ratios,).
    """

    full: Curve
    full_attention: float
    mixed: Curve
    mixed_start_share: float
    full_ratios: np.ndarray
    mixed_ratios: np.ndarray

    @classmethod
    def none(cls) -> "GpuScale":
        """Kernels as they were measured, for an engine that waits for each step."""
        unscaled = Curve((0.0,), (1.0,))
        return cls(unscaled, 1.0, unscaled, 0.0, np.ones(1), np.ones(1))

    def full_ms(self, padded_tokens: int, kernel_ms: float, decode_attention_ms: float) -> float:
        attention_ms = self.full_attention * decode_attention_ms
        return self.full(padded_tokens) * (kernel_ms - decode_attention_ms + attention_ms)

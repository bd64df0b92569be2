"""Which CUDA graph vLLM V1 replays for a step, and to how many tokens it pads the step for it."""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

FULL, PIECEWISE, EAGER = "full", "piecewise", "eager"
# by vLLM's `cudagraph_mode`: for a step of decodes alone, and for any other
_MODES = {
    "NONE": (EAGER, EAGER),
    "FULL": (FULL, FULL),
    "FULL_DECODE_ONLY": (FULL, EAGER),
    "FULL_AND_PIECEWISE": (FULL, PIECEWISE),
    "PIECEWISE": (PIECEWISE, PIECEWISE),
}


def graph_modes(
    num_prefill_tokens: np.ndarray,
    num_decode_requests: np.ndarray,
    cudagraph_mode: str,
    capture_sizes: Sequence[int],
) -> np.ndarray:
    """`full`, `piecewise` or `eager` for each step; shapes (steps,).

    The rule of vLLM 0.26's `CudagraphDispatcher`: a batch in which every request has one token
    replays a full graph (modes `FULL…`), any other a piecewise one (modes `…PIECEWISE`, `FULL`
    replays full), up to the largest captured size; larger batches run eagerly.
    """
    tokens = num_prefill_tokens + num_decode_requests
    if not len(capture_sizes):
        return np.full(len(tokens), EAGER)
    decode, mixed = _MODES[cudagraph_mode.upper()]
    captured = tokens <= max(capture_sizes)
    return np.where(~captured, EAGER, np.where(num_prefill_tokens == 0, decode, mixed))


def padded_tokens(tokens: int, capture_sizes: Sequence[int], graph_mode: str) -> int:
    """The smallest captured size that holds `tokens`; `tokens` itself for a step that runs eagerly.

    `capture_sizes` is sorted; `graph_mode` is `full`, `piecewise` or `eager`.
    """
    if graph_mode == EAGER or not capture_sizes or tokens > capture_sizes[-1]:
        return tokens
    return capture_sizes[bisect_left(capture_sizes, tokens)]

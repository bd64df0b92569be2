"""Which CUDA graph vLLM V1 replays for a step, from what is in it."""

from collections.abc import Sequence

import numpy as np

FULL, PIECEWISE, EAGER = "full", "piecewise", "eager"


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
    mode = cudagraph_mode.upper()
    if mode == "NONE" or not len(capture_sizes):
        return np.full(len(tokens), EAGER)
    decode = {
        "FULL": FULL,
        "FULL_DECODE_ONLY": FULL,
        "FULL_AND_PIECEWISE": FULL,
        "PIECEWISE": PIECEWISE,
    }[mode]
    mixed = {
        "FULL": FULL,
        "FULL_DECODE_ONLY": EAGER,
        "FULL_AND_PIECEWISE": PIECEWISE,
        "PIECEWISE": PIECEWISE,
    }[mode]
    captured = tokens <= max(capture_sizes)
    return np.where(~captured, EAGER, np.where(num_prefill_tokens == 0, decode, mixed))

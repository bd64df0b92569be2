"""To how many tokens vLLM pads a step that replays a captured CUDA graph."""

from bisect import bisect_left
from collections.abc import Sequence


def padded_tokens(tokens: int, capture_sizes: Sequence[int], graph_mode: str) -> int:
    """The smallest captured size that holds `tokens`; `tokens` itself for a step that runs eagerly.

    `capture_sizes` is sorted; `graph_mode` is `full`, `piecewise` or `eager`.
    """
    if graph_mode == "eager" or not capture_sizes or tokens > capture_sizes[-1]:
        return tokens
    return capture_sizes[bisect_left(capture_sizes, tokens)]

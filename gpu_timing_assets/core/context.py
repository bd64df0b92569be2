"""The one check that no request is longer than what serves it."""

import numpy as np

from gpu_timing_assets.core.errors import GpuTimingError


def check_context(
    num_tokens: np.ndarray,
    limit: int,
    *,
    where: str = "trace_lengths.csv",
    what: str = "the engine's context",
    remedy: str,
    error: type[GpuTimingError],
) -> None:
    """Raises `error` naming the first request whose prompt and output together are beyond `limit`.

    `num_tokens`: shape (requests,), in the order of the rows of `where`. `what` has the limit;
    `remedy` is what to do.
    """
    over = np.asarray(num_tokens) > limit
    if over.any():
        row = int(over.argmax())
        others = f" (as {int(over.sum()) - 1} others have)" if over.sum() > 1 else ""
        raise error(
            f"{where}, row {row + 2}: request {row} has {num_tokens[row]} tokens{others}, beyond "
            f"{what} of {limit}: {remedy}"
        )

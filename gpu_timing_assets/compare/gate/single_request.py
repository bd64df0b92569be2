"""Engines that say nothing of requests that overlap, or nothing at all."""

import numpy as np

from gpu_timing_assets.compare.gate.align import Aligned
from gpu_timing_assets.core.errors import IncomparableRunsError


def refuse_single_request_backend(aligned: Aligned, *, allow_mismatch: bool) -> list[str]:
    """What would refuse the comparison because a backend that serves one request at a time says
    nothing about requests that overlap, and `null_engine` nothing about an engine.

    Raises `IncomparableRunsError` for the first of it, unless `allow_mismatch`.
    """
    problems = []
    for real in aligned.real:
        meta = real.run.meta
        overlap = aligned.grid.arrival_ns[1:] < np.maximum.accumulate(real.last_ns)[:-1]
        if meta.backend == "null_engine":
            problems.append(
                f"{meta.run_id} ran on null_engine, which measures the client and no engine"
            )
        elif not meta.params.comparable_under_load and overlap.any():
            problems.append(
                f"{meta.run_id} ran on {meta.backend}, which is not comparable under load: "
                "its requests overlap"
            )
    if problems and not allow_mismatch:
        raise IncomparableRunsError(f"{problems[0]}. Compare with a run of backend=vllm")
    return problems

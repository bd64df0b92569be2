"""A copy of a run is no repeat of it: the noise between the two would be none."""

import hashlib
from collections.abc import Sequence

from gpu_timing_assets.compare.gate.load import Run
from gpu_timing_assets.core.errors import IncomparableRunsError


def refuse_copies(runs: Sequence[Run]) -> None:
    """Raises `IncomparableRunsError` naming two real runs with one id, or with every token at the
    same nanosecond.
    """
    by_id: dict[str, Run] = {}
    by_times: dict[str, Run] = {}
    for run in runs:
        times = run.tokens["token_time_ns"].to_numpy()
        digest = hashlib.sha256(times.tobytes()).hexdigest() if len(times) else run.meta.run_id
        first = by_id.setdefault(run.meta.run_id, run)
        same = first if first is not run else by_times.setdefault(digest, run)
        if same is not run:
            raise IncomparableRunsError(
                f"{run.directory} is a copy of {same.directory}, and no repeat: a run has no noise "
                "against itself; move one of them out of the folder of real runs"
            )

"""`closed_loop.csv`: who sends which request of a closed-loop workload, and how long they think
before it.

Beside it, `arrival_time_ns` in `trace_intervals.csv` is only when a request would arrive if every
request before it took no time: the real run learns the arrivals, and a simulation replays those.
"""

from pathlib import Path

import pandas as pd

from gpu_timing_assets.core.tables.schemas import CLOSED_LOOP


def read_closed_loop(workload_dir: Path) -> pd.DataFrame | None:
    """`request_id`, `user_id`, `think_time_ns` by request, or `None` for a workload with planned
    arrivals.

    A user sends its requests in the order of `request_id`: the first `think_time_ns` after the
    start, each other one `think_time_ns` after the completion of the one before. Raises
    `ArtifactError` as every table's reader does.
    """
    return CLOSED_LOOP.read(workload_dir) if CLOSED_LOOP.is_in(workload_dir) else None

"""What must hold in the tables of a profiling bundle: times that were measured, in their unit."""

from pathlib import Path

import pandas as pd

from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.tables.schemas import ATTENTION
from gpu_timing_assets.core.tables.table import Table, refuse_row

LONGEST_KERNEL_MS = 60_000.0


def check_measurements(table: Table, directory: Path, frame: pd.DataFrame) -> None:
    """Raises `ArtifactError` naming file and row: no row, a missing or zero time, statistics that
    contradict each other.
    """
    path = table.find(directory)
    if frame.empty:
        raise ArtifactError(f"{path}: there is no row in it")
    _check_times(path, frame)
    if table.file == ATTENTION.file:
        # its time columns are nullable because a row is either a prefill's or a decode's; its own
        # time must be there
        prefill = frame["prefill_chunk_size"] > 0
        for name, rows in (
            ("attn_prefill", prefill),
            ("attn_decode", ~prefill),
            ("attn_kv_cache_save", prefill | True),
        ):
            empty = (rows & frame[f"time_stats.{name}.median"].isna()).to_numpy()
            refuse_row(path, empty, f"time_stats.{name}.median is empty")


def _check_times(path: Path, frame: pd.DataFrame) -> None:
    """Of each kernel its least, middle and largest time, in ms."""
    for name in (name for name in frame.columns if name.endswith(".median")):
        median, kernel = frame[name], name.removesuffix(".median")
        least, mean, largest = (frame[f"{kernel}.{which}"] for which in ("min", "mean", "max"))
        rounding = 1e-9 * largest
        for bad, why in (
            (median <= 0, f"{name} is zero: the profiler missed its kernel"),
            (largest > LONGEST_KERNEL_MS, f"{kernel}.max is over a minute: it is in ms"),
            ((median < least) | (median > largest), f"{name} is not between its min and max"),
            (
                (mean < least - rounding) | (mean > largest + rounding),
                f"{kernel}.mean is not between its min and max",
            ),
        ):
            refuse_row(path, bad.to_numpy(), why)

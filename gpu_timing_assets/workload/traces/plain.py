"""Lengths and times of one's own, CSV or JSONL."""

import codecs
from collections.abc import Collection
from pathlib import Path

from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.workload.draw_context import DrawContext
from gpu_timing_assets.workload.input_files import open_input
from gpu_timing_assets.workload.times import NS_PER_S
from gpu_timing_assets.workload.trace_rows import TraceRows
from gpu_timing_assets.workload.traces.trace_format import TraceColumns, TraceFormat

PREFILL, DECODE = "num_prefill_tokens", "num_decode_tokens"
# the time column's name says its unit
LOOKED_AT_BYTES = 4096
TIME_COLUMNS = {"arrival_time_ns": 1, "arrival_time_s": NS_PER_S}


class PlainTrace(TraceFormat):
    """Times are there or not; a file that has times may have no lengths."""

    def read(self, path: Path, context: DrawContext) -> TraceRows:
        from gpu_timing_assets.workload.csv_rows import csv_columns, read_csv_rows
        from gpu_timing_assets.workload.jsonl_rows import json_objects, read_jsonl_rows

        with open_input(path) as file:
            begin = file.read(LOOKED_AT_BYTES).removeprefix(codecs.BOM_UTF8).lstrip()
        if begin.startswith(b"{"):
            _, first = next(json_objects(path))
            return read_jsonl_rows(path, _columns_among(path, first))
        return read_csv_rows(path, _columns_among(path, csv_columns(path)))


def _columns_among(path: Path, names: Collection[str]) -> TraceColumns:
    if all(name in names for name in TIME_COLUMNS):
        both = " and ".join(TIME_COLUMNS)
        raise WorkloadError(f"{path}: there are both {both}: leave one of them out")
    time = next((name for name in TIME_COLUMNS if name in names), None)
    has_lengths = time is None or PREFILL in names or DECODE in names
    return TraceColumns(
        time=time,
        time_unit_ns=None if time is None else TIME_COLUMNS[time],
        prefill=PREFILL if has_lengths else None,
        decode=DECODE if has_lengths else None,
    )


PLUGIN = PlainTrace(name="plain", title="plain lengths and times", licence="not stated")

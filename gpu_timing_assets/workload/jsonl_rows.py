"""The rows of a JSONL trace, checked field by field."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.core.files import parse_json
from gpu_timing_assets.workload.input_files import open_input
from gpu_timing_assets.workload.times import LAST_TIME_NS
from gpu_timing_assets.workload.trace_rows import MAX_TOKENS, TraceRows, refuse_times_that_go_back
from gpu_timing_assets.workload.traces.trace_format import TraceColumns

COMMON_BLOCK_SIZES = (512, 16, 64, 32, 128, 256, 1024)
FORMAT_OF = {512: "mooncake", 16: "qwen_bailian"}


def read_jsonl_rows(
    path: Path, columns: TraceColumns, blocks_field: str | None = None, block_size_tokens: int = 0
) -> TraceRows:
    """Prompts share no prefix in a file whose first row has no `blocks_field`, and the rows' notes
    say so. Raises `WorkloadError` naming the line and the field.
    """
    notes: tuple[str, ...] = ()
    hashes = blocks_field
    times: list[int] = []
    prefill: list[int] = []
    decode: list[int] = []
    blocks: list[list[int]] = []
    lines: list[int] = []
    for number, row in json_objects(path):
        where = f"{path}, line {number}"
        if not lines and blocks_field and blocks_field not in row:
            notes, hashes = (f"there is no {blocks_field}: no prompts share a prefix",), None
        if blocks_field and hashes is None and blocks_field in row:
            raise WorkloadError(f"{where}: {blocks_field} is not in the first row: give it to all")
        for name in (*columns.names, *([hashes] if hashes else [])):
            if name not in row:
                raise WorkloadError(
                    f"{where}: {name} is missing (found: {', '.join(row)}): are two formats in "
                    "one file?"
                )
        if columns.time is not None:
            assert columns.time_unit_ns is not None, "dates are read from CSV files alone"
            field = f"{where}: {columns.time}"
            times.append(_time_ns(row[columns.time], columns.time_unit_ns, field))
        for column, counts in ((columns.prefill, prefill), (columns.decode, decode)):
            counts.append(1 if column is None else _token_count(row[column], f"{where}: {column}"))
        if hashes:
            field = f"{where}: {hashes}"
            blocks.append(_block_ids(row[hashes], prefill[-1], block_size_tokens, field))
        lines.append(number)
    if not lines:
        raise WorkloadError(f"{path}: there is no line in it")
    rows = TraceRows(
        np.array(lines, dtype=np.int64),
        np.array(times, dtype=np.int64) if columns.time else None,
        np.array(prefill, dtype=np.int64),
        np.array(decode, dtype=np.int64),
        has_lengths=columns.prefill is not None,
        blocks=blocks if hashes else None,
        block_size_tokens=block_size_tokens if hashes else 0,
        notes=notes,
    )
    refuse_times_that_go_back(path, rows, columns.time)
    return rows


def json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line that is not blank, by number. Raises `WorkloadError` for one that is no object."""
    with open_input(path) as file:
        for number, content in enumerate(file, start=1):
            where = f"{path}, line {number}"
            try:
                line = content.decode("utf-8-sig" if number == 1 else "utf-8")
                row = parse_json(line) if line.strip() else None
            except UnicodeDecodeError:
                raise WorkloadError(f"{where}: not UTF-8: save the file as UTF-8") from None
            except ValueError as error:
                raise WorkloadError(
                    f"{where}: not JSON ({error}): is it all a trace of one format?"
                ) from None
            if isinstance(row, dict):
                yield number, row
            elif line.strip():
                raise WorkloadError(f"{where}: not a JSON object: is it all a trace of one format?")


def _token_count(value: Any, where: str) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # as in a CSV file
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MAX_TOKENS:
        raise WorkloadError(
            f"{where} is {value!r:.60}, expected a whole number that is not negative"
        )
    return value


def _time_ns(value: Any, unit_ns: int, where: str) -> int:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value * unit_ns < LAST_TIME_NS
    ):
        raise WorkloadError(f"{where} is {value!r:.60}, expected a time that is not negative")
    return value * unit_ns if isinstance(value, int) else round(value * unit_ns)


def _block_ids(value: Any, num_tokens: int, block_size_tokens: int, where: str) -> list[int]:
    if not isinstance(value, list) or not all(
        isinstance(block, int) and not isinstance(block, bool) and abs(block) < 2**63
        for block in value
    ):
        raise WorkloadError(f"{where} is not a list of whole numbers of 64 bits")
    if len(value) != -(-num_tokens // block_size_tokens):
        raise WorkloadError(
            f"{where} has {len(value)} blocks of {block_size_tokens} tokens for a prompt of "
            f"{num_tokens}, which has {-(-num_tokens // block_size_tokens)}: "
            f"{_near_miss(len(value), num_tokens)}"
        )
    return value


def _near_miss(num_blocks: int, num_tokens: int) -> str:
    for size in COMMON_BLOCK_SIZES:
        if num_blocks == -(-num_tokens // size):
            named = f", or format={FORMAT_OF[size]}" if size in FORMAT_OF else ""
            return f"they look like blocks of {size}: set block_size_tokens={size}{named}"
    return "correct the row or leave it out"

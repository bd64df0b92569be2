"""The rows of trace files, checked cell by cell: CSV, JSONL and ShareGPT's JSON."""

import io
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.workload.arrivals import LAST_TIME_NS
from gpu_timing_assets.workload.input_files import open_input, read_input
from gpu_timing_assets.workload.requests import Integers

CHUNK_ROWS = 500_000
# a plain file names the unit of its times
PLAIN_TIME_COLUMNS = {"arrival_time_ns": 1, "arrival_time_s": 1_000_000_000}
MAX_TOKENS = 2**31
QUESTIONERS, ANSWERERS = ("human", "user"), ("gpt", "chatgpt", "bing", "bard", "assistant")


@dataclass(frozen=True)
class TraceRows:
    """Every row of a trace, arrays of shape (n,): `rows` counts lines from 1. Without lengths both
    token counts are 1.

    `unusable`: rows that are none of these, by reason.
    """

    rows: Integers
    times_ns: Integers | None
    num_prefill_tokens: Integers
    num_decode_tokens: Integers
    columns: tuple[str, ...] = ()
    has_lengths: bool = True
    blocks: list[list[int]] | None = None
    texts: list[str] | None = None
    answers: list[str] | None = None
    unusable: dict[str, list[int]] = field(default_factory=dict)

    def with_lengths(self, prefill: list[int], decode: list[int]) -> "TraceRows":
        return replace(
            self,
            num_prefill_tokens=np.array(prefill, dtype=np.int64),
            num_decode_tokens=np.array(decode, dtype=np.int64),
        )

    def with_times(self, times_ns: Integers) -> "TraceRows":
        return replace(self, times_ns=times_ns)


def read_csv_rows(
    path: Path, time_column: str, time_unit_ns: int | None, prefill_column: str, decode_column: str
) -> TraceRows:
    """`time_column` may be empty, for a plain file: then the times are in one of
    `PLAIN_TIME_COLUMNS`, or there are none, and a file that has times may have no lengths.

    Raises `WorkloadError` naming the columns that are missing and those found, or the first bad
    cell's row and column.
    """
    with open_input(path) as file:
        columns = _header(path, file)
        has_lengths = True
        if not time_column:
            time_column = next((name for name in PLAIN_TIME_COLUMNS if name in columns), "")
            time_unit_ns = PLAIN_TIME_COLUMNS.get(time_column)
            has_lengths = not time_column or prefill_column in columns or decode_column in columns
        wanted = [
            name
            for name in (time_column, *((prefill_column, decode_column) if has_lengths else ()))
            if name
        ]
        missing = [name for name in wanted if name not in columns]
        if missing:
            raise WorkloadError(
                f"{path}: column {', '.join(map(repr, missing))} is missing (found: "
                f"{', '.join(columns)}): "
                "is it a trace of this format?"
            )
        times: list[Integers] = []
        prefill: list[Integers] = []
        decode: list[Integers] = []
        first_row = 2
        for chunk in _csv_chunks(path, file, columns, wanted):
            for column, counts in ((prefill_column, prefill), (decode_column, decode)):
                ones = np.ones(len(chunk), dtype=np.int64)
                counts.append(
                    _whole_numbers(path, chunk, column, first_row) if has_lengths else ones
                )
            if time_column:
                times.append(
                    _dates_ns(path, chunk[time_column], time_column, first_row)
                    if time_unit_ns is None
                    else _times_ns(path, chunk, time_column, time_unit_ns, first_row)
                )
            first_row += len(chunk)
    count = first_row - 2
    if count == 0:
        raise WorkloadError(f"{path}: there is no row below the header")
    rows = np.arange(2, count + 2)
    times_ns = np.concatenate(times) if times else None
    _refuse_times_that_go_back(path, times_ns, time_column, rows)
    return TraceRows(
        rows, times_ns, np.concatenate(prefill), np.concatenate(decode), tuple(columns), has_lengths
    )


def read_jsonl_rows(
    path: Path,
    time_field: str,
    time_unit_ns: int | None,
    prefill_field: str,
    decode_field: str,
    blocks_field: str,
    block_size_tokens: int,
) -> TraceRows:
    """Raises `WorkloadError` naming the line and the field."""
    plain, has_lengths = not time_field, True
    times: list[int] = []
    prefill: list[int] = []
    decode: list[int] = []
    blocks: list[list[int]] = []
    lines: list[int] = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        row = _json_object(line, where)
        if not lines and plain:
            time_field = next((name for name in PLAIN_TIME_COLUMNS if name in row), "")
            time_unit_ns = PLAIN_TIME_COLUMNS.get(time_field)
            has_lengths = not time_field or prefill_field in row or decode_field in row
        for name in (
            time_field,
            *((prefill_field, decode_field) if has_lengths else ()),
            blocks_field,
        ):
            if name and name not in row:
                raise WorkloadError(
                    f"{where}: {name} is missing (found: {', '.join(row)}): are two formats in "
                    f"one file?"
                )
        if time_field and time_unit_ns is not None:
            times.append(_scaled(row[time_field], time_unit_ns, f"{where}: {time_field}"))
        for name, counts in ((prefill_field, prefill), (decode_field, decode)):
            counts.append(_token_count(row[name], f"{where}: {name}") if has_lengths else 1)
        if blocks_field:
            blocks.append(
                _block_ids(
                    row[blocks_field], prefill[-1], block_size_tokens, f"{where}: {blocks_field}"
                )
            )
        lines.append(number)
    if not lines:
        raise WorkloadError(f"{path}: there is no line in it")
    rows = np.array(lines, dtype=np.int64)
    times_ns = np.array(times, dtype=np.int64) if time_field else None
    _refuse_times_that_go_back(path, times_ns, time_field, rows)
    return TraceRows(
        rows,
        times_ns,
        np.array(prefill, dtype=np.int64),
        np.array(decode, dtype=np.int64),
        has_lengths=has_lengths,
        blocks=blocks if blocks_field else None,
    )


def read_sharegpt_rows(path: Path) -> TraceRows:
    """A conversation's first question and answer; `rows` counts conversations from 1. Token counts
    are still to come.

    Conversations that do not begin with a question and its answer are unusable. Raises
    `WorkloadError` naming the conversation and the field.
    """
    try:
        conversations = json.loads(read_input(path))
    except ValueError as error:
        raise WorkloadError(f"{path}: not JSON ({error}): is it whole, and ShareGPT's?") from None
    if not isinstance(conversations, list):
        raise WorkloadError(f"{path}: not a list of conversations: is it ShareGPT's?")
    rows: list[int] = []
    texts: list[str] = []
    answers: list[str] = []
    unusable: dict[str, list[int]] = {}
    for number, conversation in enumerate(conversations, start=1):
        turns = conversation.get("conversations") if isinstance(conversation, dict) else None
        where = f"{path}, conversation {number}"
        if not isinstance(turns, list):
            raise WorkloadError(f"{where}: conversations is missing or no list: is it ShareGPT's?")
        for turn in turns[:2]:
            if not isinstance(turn, dict) or not all(
                isinstance(turn.get(name), str) for name in ("from", "value")
            ):
                raise WorkloadError(
                    f"{where}: a turn needs the texts from and value: is it ShareGPT's?"
                )
        if len(turns) < 2:
            unusable.setdefault("fewer_than_two_turns", []).append(number)
        elif turns[0]["from"] not in QUESTIONERS or turns[1]["from"] not in ANSWERERS:
            unusable.setdefault("does_not_begin_with_question_and_answer", []).append(number)
        else:
            rows.append(number)
            texts.append(turns[0]["value"])
            answers.append(turns[1]["value"])
    zeros = np.zeros(len(rows), dtype=np.int64)
    return TraceRows(
        np.array(rows, dtype=np.int64),
        None,
        zeros,
        zeros,
        texts=texts,
        answers=answers,
        unusable=unusable,
    )


def _header(path: Path, file: IO[bytes]) -> list[str]:
    line = file.readline()
    try:
        header = pd.read_csv(io.BytesIO(line), nrows=0, encoding="utf-8-sig").columns.tolist()
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError):
        raise WorkloadError(f"{path}: there is no header in it: is it a CSV file?") from None
    return [str(name).strip() for name in header]


def _csv_chunks(
    path: Path, file: IO[bytes], columns: list[str], wanted: list[str]
) -> Iterable[pd.DataFrame]:
    """The rows below the header, as text. A row with more cells than the header has is refused, not
    cut.
    """
    beyond = "cells beyond the header"
    first_row = 2
    try:
        for chunk in pd.read_csv(
            file,
            header=None,
            names=[*columns, beyond],
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            chunksize=CHUNK_ROWS,
            encoding="utf-8",
        ):
            more = (chunk[beyond].notna() & (chunk[beyond] != "")).to_numpy()
            if more.any():
                raise _more_cells(path, first_row + int(more.argmax()), columns)
            first_row += len(chunk)
            yield chunk[wanted]
    except pd.errors.EmptyDataError:
        return
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        read_input(path)  # says so if the archive is what is wrong
        if line := re.search(r"Expected \d+ fields in line (\d+)", str(error)):
            raise _more_cells(path, int(line[1]) + 1, columns) from None
        raise WorkloadError(
            f"{path}: not a CSV file of {len(columns)} columns ({' '.join(str(error).split())}; "
            f"counted "
            "without the header): are two formats in one file?"
        ) from None


def _more_cells(path: Path, row: int, columns: list[str]) -> WorkloadError:
    return WorkloadError(
        f"{path}, row {row}: more cells than the header's {len(columns)}: are two formats in one "
        f"file?"
    )


def _numbers(
    path: Path, cells: pd.Series, column: str, first_row: int, what: str
) -> "np.ndarray[Any, np.dtype[Any]]":
    numbers = pd.to_numeric(cells, errors="coerce").to_numpy()
    bad = ~np.isfinite(numbers.astype(np.float64)) | (numbers < 0)
    if bad.any():
        index = int(bad.argmax())
        _refuse_cell(path, str(cells.iloc[index]), column, first_row + index, what)
    return numbers


def _refuse_cell(path: Path, cell: str, column: str, row: int, what: str) -> None:
    found = "empty" if not cell.strip() else repr(cell)
    letters = any(letter.isalpha() for letter in cell)
    remedy = "are two formats in one file?" if letters else "correct the row or leave it out"
    raise WorkloadError(
        f"{path}, row {row}: {column} is {found}, expected {what} that is not negative: {remedy}"
    )


def _whole_numbers(path: Path, chunk: pd.DataFrame, column: str, first_row: int) -> Integers:
    numbers = _numbers(path, chunk[column], column, first_row, "a whole number")
    bad = (numbers != np.floor(numbers)) | (numbers >= MAX_TOKENS)
    if bad.any():
        index = int(bad.argmax())
        _refuse_cell(
            path,
            str(chunk[column].iloc[index]),
            column,
            first_row + index,
            f"a whole number below {MAX_TOKENS}",
        )
    return numbers.astype(np.int64)


def _times_ns(
    path: Path, chunk: pd.DataFrame, column: str, unit_ns: int, first_row: int
) -> Integers:
    """Exact for whole numbers; others through the nearest double, whose product with the unit IEEE
    754 fixes.
    """
    numbers = _numbers(path, chunk[column], column, first_row, "a number")
    if numbers.dtype.kind != "i":
        # pandas' own conversion of decimals may be off by one bit; Python's is exact
        numbers = np.array([float(cell) for cell in chunk[column]])
    bad = numbers.astype(np.float64) >= LAST_TIME_NS / unit_ns
    if bad.any():
        index = int(bad.argmax())
        _refuse_cell(
            path,
            str(chunk[column].iloc[index]),
            column,
            first_row + index,
            "a time within a century",
        )
    return (
        np.rint(numbers * unit_ns).astype(np.int64)
        if numbers.dtype.kind == "f"
        else numbers.astype(np.int64) * unit_ns
    )


def _dates_ns(path: Path, cells: pd.Series, column: str, first_row: int) -> Integers:
    """ISO 8601 dates with up to nine digits of a second, UTC if no zone is given."""
    dates = pd.to_datetime(cells, format="ISO8601", utc=True, errors="coerce")
    if dates.isna().any():
        index = int(dates.isna().to_numpy().argmax())
        _refuse_cell(
            path, str(cells.iloc[index]), column, first_row + index, "an ISO 8601 date and time"
        )
    return dates.dt.as_unit("ns").to_numpy(dtype="datetime64[ns]").astype(np.int64)


def _refuse_times_that_go_back(
    path: Path, times_ns: Integers | None, column: str, rows: Integers
) -> None:
    if times_ns is None:
        return
    back = np.flatnonzero(np.diff(times_ns) < 0)
    if len(back):
        raise WorkloadError(
            f"{path}, row {int(rows[back[0] + 1])}: {column} goes back: sort the file by it"
        )


def _lines(path: Path) -> Iterable[str]:
    with open_input(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError:
                raise WorkloadError(
                    f"{path}, line {number}: not UTF-8: save the file as UTF-8"
                ) from None


def _json_object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise WorkloadError(
            f"{where}: not JSON ({error}): is it all a trace of one format?"
        ) from None
    if not isinstance(row, dict):
        raise WorkloadError(f"{where}: not a JSON object: is it all a trace of one format?")
    return row


def _token_count(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MAX_TOKENS:
        raise WorkloadError(
            f"{where} is {value!r:.60}, expected a whole number that is not negative"
        )
    return value


def _scaled(value: Any, unit_ns: int, where: str) -> int:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value * unit_ns < LAST_TIME_NS
    ):
        raise WorkloadError(f"{where} is {value!r:.60}, expected a time that is not negative")
    return value * unit_ns if isinstance(value, int) else round(value * unit_ns)


def _block_ids(value: Any, num_tokens: int, block_size_tokens: int, where: str) -> list[int]:
    if not isinstance(value, list) or not all(
        isinstance(block, int) and not isinstance(block, bool) for block in value
    ):
        raise WorkloadError(f"{where} is not a list of whole numbers")
    if len(value) > -(-num_tokens // block_size_tokens):
        raise WorkloadError(
            f"{where} has {len(value)} blocks of {block_size_tokens} tokens for a prompt of "
            f"{num_tokens}"
        )
    return value

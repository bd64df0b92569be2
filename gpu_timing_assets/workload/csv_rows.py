"""The rows of a CSV trace, checked cell by cell."""

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.workload.input_files import open_input, read_input
from gpu_timing_assets.workload.requests import Integers
from gpu_timing_assets.workload.times import LAST_TIME_NS
from gpu_timing_assets.workload.trace_rows import MAX_TOKENS, TraceRows, refuse_times_that_go_back
from gpu_timing_assets.workload.traces.trace_format import TraceColumns

CHUNK_ROWS = 500_000


def read_csv_rows(path: Path, columns: TraceColumns) -> TraceRows:
    """Raises `WorkloadError` naming the columns that are missing and those found, or the first bad
    cell's row (the header is row 1) and column.
    """
    times: list[Integers] = []
    prefill: list[Integers] = []
    decode: list[Integers] = []
    with open_input(path) as file:
        header = _header(path, file)
        missing = [name for name in columns.names if name not in header]
        if missing:
            raise WorkloadError(
                f"{path}: column {', '.join(map(repr, missing))} is missing (found: "
                f"{', '.join(header)}): is it a trace of this format?"
            )
        first_row = 2
        for chunk in _csv_chunks(path, file, header):
            for column, counts in ((columns.prefill, prefill), (columns.decode, decode)):
                counts.append(
                    np.ones(len(chunk), dtype=np.int64)
                    if column is None
                    else _Cells(path, column, first_row, chunk[column]).token_counts()
                )
            if columns.time is not None:
                cells = _Cells(path, columns.time, first_row, chunk[columns.time])
                times.append(cells.times_ns(columns.time_unit_ns))
            first_row += len(chunk)
    if first_row == 2:
        raise WorkloadError(f"{path}: there is no row below the header")
    rows = TraceRows(
        np.arange(2, first_row),
        np.concatenate(times) if times else None,
        np.concatenate(prefill),
        np.concatenate(decode),
        has_lengths=columns.prefill is not None,
        columns=tuple(header),
    )
    refuse_times_that_go_back(path, rows, columns.time)
    return rows


def csv_columns(path: Path) -> list[str]:
    """The names in the header. Raises `WorkloadError` if there is none."""
    with open_input(path) as file:
        return _header(path, file)


def _header(path: Path, file: IO[bytes]) -> list[str]:
    line = file.readline()
    try:
        cells = pd.read_csv(
            io.BytesIO(line), header=None, dtype=str, keep_default_na=False, encoding="utf-8-sig"
        )
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError):
        raise WorkloadError(f"{path}: there is no header in it: is it a CSV file?") from None
    header = [str(name).strip() for name in cells.iloc[0]]
    if twice := [name for name in header if header.count(name) > 1]:
        raise WorkloadError(f"{path}: column {twice[0]!r} stands twice in the header: keep one")
    return header


def _csv_chunks(path: Path, file: IO[bytes], header: list[str]) -> Iterable[pd.DataFrame]:
    """The rows below the header, as text. One with more cells than the header is refused."""
    beyond = "cells beyond the header"
    first_row = 2
    try:
        for chunk in pd.read_csv(
            file,
            header=None,
            names=[*header, beyond],
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            chunksize=CHUNK_ROWS,
            encoding="utf-8",
        ):
            more = (chunk[beyond].notna() & (chunk[beyond] != "")).to_numpy()
            if more.any():
                raise _more_cells(path, first_row + int(more.argmax()), header)
            first_row += len(chunk)
            yield chunk
    except pd.errors.EmptyDataError:
        return
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        read_input(path)  # says so if the archive is what is wrong
        if line := re.search(r"Expected \d+ fields in line (\d+)", str(error)):
            raise _more_cells(path, int(line[1]) + 1, header) from None
        raise WorkloadError(
            f"{path}: not a CSV file of {len(header)} columns ({' '.join(str(error).split())}; "
            "counted without the header): are two formats in one file?"
        ) from None


def _more_cells(path: Path, row: int, header: list[str]) -> WorkloadError:
    return WorkloadError(
        f"{path}, row {row}: more cells than the header's {len(header)}: are two formats in one "
        "file?"
    )


@dataclass(frozen=True)
class _Cells:
    """One column of a chunk, as text, and where in the file it begins."""

    path: Path
    column: str
    first_row: int
    texts: pd.Series

    def token_counts(self) -> Integers:
        numbers = self._numbers("a whole number")
        wrong = (numbers != np.floor(numbers)) | (numbers >= MAX_TOKENS)
        self._refuse(wrong, f"a whole number below {MAX_TOKENS}")
        return numbers.astype(np.int64)

    def times_ns(self, unit_ns: int | None) -> Integers:
        """Exact for whole numbers; others through the nearest double, whose product with the unit
        IEEE 754 fixes. Without a unit they are ISO 8601 dates with up to nine digits of a second,
        UTC if no zone is given.
        """
        if unit_ns is None:
            dates = pd.to_datetime(self.texts, format="ISO8601", utc=True, errors="coerce")
            self._refuse(dates.isna().to_numpy(), "an ISO 8601 date and time")
            self._refuse(~dates.dt.year.between(1678, 2261).to_numpy(), "a date of our centuries")
            return dates.dt.as_unit("ns").to_numpy(dtype="datetime64[ns]").astype(np.int64)
        numbers = self._numbers("a number")
        if numbers.dtype.kind != "i":
            # pandas' own conversion of decimals may be off by one bit; Python's is exact
            numbers = np.array([float(text) for text in self.texts])
        late = numbers.astype(np.float64) >= LAST_TIME_NS / unit_ns
        self._refuse(late, "a time within a century")
        if numbers.dtype.kind == "f":
            return np.rint(numbers * unit_ns).astype(np.int64)
        return numbers.astype(np.int64) * unit_ns

    def _numbers(self, expected: str) -> "np.ndarray[Any, np.dtype[Any]]":
        numbers = pd.to_numeric(self.texts, errors="coerce").to_numpy()
        self._refuse(~np.isfinite(numbers.astype(np.float64)) | (numbers < 0), expected)
        return numbers

    def _refuse(self, wrong: "np.ndarray[Any, np.dtype[np.bool_]]", expected: str) -> None:
        if not wrong.any():
            return
        at = int(wrong.argmax())
        text = str(self.texts.iloc[at])
        found = "empty" if not text.strip() else repr(text)
        letters = any(letter.isalpha() for letter in text)
        remedy = "are two formats in one file?" if letters else "correct the row or leave it out"
        raise WorkloadError(
            f"{self.path}, row {self.first_row + at}: {self.column} is {found}, expected "
            f"{expected} that is not negative: {remedy}"
        )

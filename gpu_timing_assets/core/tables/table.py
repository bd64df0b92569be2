"""A CSV table that crosses stages: its columns, in order, and a reader that checks them.

UTF-8, LF, no index column, integer nanoseconds. Readers also take `<name>.csv.gz` and
`<name>.csv.xz`, which is how reference data ships.
"""

import lzma
import zlib
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.files import COMPRESSED

_UNREADABLE = (
    pd.errors.ParserError,
    UnicodeDecodeError,
    OSError,
    EOFError,
    lzma.LZMAError,
    zlib.error,
)
LONGEST_NS = 10**16


@dataclass(frozen=True)
class Column:
    """`kind`: `int`, `float` or `text`; a `nullable` cell may be empty; `minimum` is inclusive; a
    text that has `choices` is one of them.
    """

    name: str
    kind: str = "int"
    nullable: bool = False
    minimum: int | None = 0
    choices: tuple[str, ...] = ()

    @property
    def dtype(self) -> str:
        return {"int": "Int64" if self.nullable else "int64", "float": "float64", "text": "str"}[
            self.kind
        ]


@dataclass(frozen=True)
class Table:
    """One kind of CSV file: `optional` columns may be missing, what is not listed is refused.

    `key`: the columns that no two rows have in common. `order`: sets of columns whose values never
    fall from left to right. `rising`: columns whose values never fall from a row to the next with
    the same value of `series`.
    """

    file: str
    columns: tuple[Column, ...]
    optional: tuple[Column, ...] = ()
    key: tuple[str, ...] = ()
    order: tuple[tuple[str, ...], ...] = ()
    rising: tuple[str, ...] = ()
    series: str | None = None

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]

    def find(self, directory: Path) -> Path:
        """The file, plain or compressed. Raises `ArtifactError` if there is neither."""
        for candidate in self._candidates(directory):
            if candidate.is_file():
                return candidate
        raise ArtifactError(f"{directory / self.file} is missing")

    def is_in(self, directory: Path) -> bool:
        return any(candidate.is_file() for candidate in self._candidates(directory))

    def _candidates(self, directory: Path) -> list[Path]:
        return [directory / f"{self.file}{compression}" for compression in ("", *COMPRESSED)]

    def write(self, frame: pd.DataFrame, directory: Path) -> Path:
        """Write the table's columns in their order. Raises `ArtifactError` if one is missing."""
        missing = [name for name in self.column_names if name not in frame.columns]
        if missing:
            raise ArtifactError(f"{self.file}: cannot be written without column {missing[0]!r}")
        names = self.column_names + [
            column.name for column in self.optional if column.name in frame.columns
        ]
        path = directory / self.file
        frame[names].to_csv(path, index=False, lineterminator="\n", encoding="utf-8")
        return path

    def read(self, directory: Path) -> pd.DataFrame:
        """Read and check the file's columns and types.

        Raises `ArtifactError` naming the file, the column and the first row (counted from 2: the
        header is row 1).
        """
        path = self.find(directory)
        try:
            header = pd.read_csv(path, nrows=1, header=None, dtype=str, keep_default_na=False)
            found = [str(name) for name in header.iloc[0]]
        except (pd.errors.EmptyDataError, *_UNREADABLE) as error:
            raise ArtifactError(f"{path}: not a readable CSV file: {error}") from None
        missing = [name for name in self.column_names if name not in found]
        if missing:
            raise ArtifactError(
                f"{path}: column {missing[0]!r} is missing (found: {', '.join(found)})"
            )
        known = {column.name: column for column in self.columns + self.optional}
        unknown = [name for name in found if name not in known]
        if unknown:
            raise ArtifactError(
                f"{path}: column {unknown[0]!r} is not one of this table's ({', '.join(known)})"
            )
        twice = [name for name in known if found.count(name) > 1]
        if twice:
            raise ArtifactError(f"{path}: column {twice[0]!r} stands twice in the header")
        columns = [known[name] for name in found]
        try:
            # only an empty cell is empty: a prompt may be called "NA" or "null"
            frame = pd.read_csv(
                path,
                dtype={column.name: column.dtype for column in columns},
                keep_default_na=False,
                na_values=[""],
            )
        except (ValueError, TypeError, OverflowError, *_UNREADABLE):
            _raise_first_bad_cell(path, columns)
            raise
        if not isinstance(frame.index, pd.RangeIndex):
            raise ArtifactError(f"{path}: its rows have more cells than the header has columns")
        self.check(frame, path)
        return frame

    def check(self, frame: pd.DataFrame, path: Path) -> None:
        """Raises `ArtifactError` as `read` does, for values that `path` holds or would hold."""
        for column in self.columns + self.optional:
            if column.name in frame:
                _check_cells(path, column, frame[column.name])
            elif column in self.columns:
                raise ArtifactError(f"{path}: column {column.name!r} is missing")
        if self.key:
            twice = frame.duplicated(list(self.key)).to_numpy()
            refuse_row(path, twice, f"the same {', '.join(self.key)} as a row before")
        for left, right in chain.from_iterable(map(pairwise, self.order)):
            if left not in frame or right not in frame:
                continue
            falls = (frame[left] > frame[right]).fillna(False)
            refuse_row(path, falls.to_numpy(), f"{right} is before {left}")
        for name in (name for name in self.rising if name in frame):
            step = frame.groupby(self.series)[name].diff() if self.series else frame[name].diff()
            why = f"{name} is below that of the row before it"
            refuse_row(path, (step < 0).fillna(False).to_numpy(), why)


def _check_cells(path: Path, column: Column, values: pd.Series) -> None:
    if not column.nullable:
        _refuse(path, column, values.isna(), "is empty")
    if column.choices:
        unknown = values.notna() & ~values.isin(column.choices)
        _refuse(path, column, unknown, f"is none of {', '.join(column.choices)}")
    if column.kind == "text":
        return
    if column.kind == "int" and not pd.api.types.is_integer_dtype(values):
        raise ArtifactError(f"{path}: {column.name} is not in whole numbers but {values.dtype}")
    if column.kind == "float":
        _refuse(path, column, ~np.isfinite(values.fillna(0)), "is not finite")
    if column.minimum is not None:
        below = (values < column.minimum).fillna(False)
        _refuse(path, column, below, f"is below {column.minimum}")
    if column.name.endswith("_ns"):
        beyond = (values.abs() > LONGEST_NS).fillna(False)
        _refuse(path, column, beyond, "is more than 116 days: another unit, or an overflow")


def refuse_row(path: Path, bad: np.ndarray, why: str) -> None:
    """Raises `ArtifactError` naming the first row that is bad."""
    if bad.any():
        raise ArtifactError(f"{path}, row {int(bad.argmax()) + 2}: {why}")


def _refuse(path: Path, column: Column, bad: pd.Series, why: str) -> None:
    refuse_row(path, bad.to_numpy(), f"{column.name} {why}")


def _raise_first_bad_cell(path: Path, columns: list[Column]) -> None:
    try:
        raw = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
    except _UNREADABLE as error:
        raise ArtifactError(f"{path}: not a readable CSV file: {error}") from None
    for column in columns:
        cells = raw[column.name]
        if not column.nullable:
            _refuse(path, column, cells.isna(), "is empty")
        if column.kind != "text":
            numbers = pd.to_numeric(cells, errors="coerce")
            bad = cells.notna() & numbers.isna()
            if column.kind == "int":
                bad |= cells.notna() & ((numbers % 1 != 0) | (numbers.abs() >= 2.0**63))
            if bad.any():
                row = int(bad.to_numpy().argmax())
                expected = "a whole number of 64 bits" if column.kind == "int" else "a number"
                raise ArtifactError(
                    f"{path}, row {row + 2}: {column.name} is {cells.iloc[row]!r}, not {expected}"
                )

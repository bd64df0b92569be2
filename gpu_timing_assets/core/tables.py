"""The CSV tables that cross stages: their columns, in order, and readers that check them.

UTF-8, LF, no index column, integer nanoseconds. Readers also take `<name>.csv.gz` and
`<name>.csv.xz`, which is how reference data ships."""

import lzma
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gpu_timing_assets.core.errors import ArtifactError

COMPRESSIONS = ("", ".gz", ".xz")
_UNREADABLE = (pd.errors.ParserError, UnicodeDecodeError, OSError, EOFError, lzma.LZMAError)


@dataclass(frozen=True)
class Column:
    """`kind` is `int`, `float` or `text`; a `nullable` cell may be empty; `minimum` is
    inclusive."""

    name: str
    kind: str = "int"
    nullable: bool = False
    minimum: int | None = 0

    @property
    def dtype(self) -> str:
        return {"int": "Int64" if self.nullable else "int64", "float": "float64", "text": "str"}[
            self.kind
        ]


@dataclass(frozen=True)
class Table:
    """One kind of CSV file. `optional` columns may be missing; what is not listed is refused."""

    file: str
    columns: tuple[Column, ...]
    optional: tuple[Column, ...] = ()

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]

    def find(self, directory: Path) -> Path:
        """The file in `directory`, plain or compressed. Raises `ArtifactError` if there is
        neither."""
        for candidate in self._candidates(directory):
            if candidate.is_file():
                return candidate
        raise ArtifactError(f"{directory / self.file} is missing")

    def is_in(self, directory: Path) -> bool:
        return any(candidate.is_file() for candidate in self._candidates(directory))

    def _candidates(self, directory: Path) -> list[Path]:
        return [directory / f"{self.file}{compression}" for compression in COMPRESSIONS]

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
        header is row 1)."""
        path = self.find(directory)
        try:
            found = list(pd.read_csv(path, nrows=0).columns)
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
        for column in columns:
            values = frame[column.name]
            if not column.nullable:
                _refuse(path, column, values.isna(), "is empty")
            if column.kind == "float":
                _refuse(path, column, ~np.isfinite(values.fillna(0)), "is not finite")
            if column.kind != "text" and column.minimum is not None:
                _refuse(
                    path,
                    column,
                    (values < column.minimum).fillna(False),
                    f"is below {column.minimum}",
                )
        return frame


def _refuse(path: Path, column: Column, bad: pd.Series, why: str) -> None:
    if bad.any():
        raise ArtifactError(f"{path}, row {int(bad.to_numpy().argmax()) + 2}: {column.name} {why}")


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
            bad = cells.notna() & (numbers.isna() | ((column.kind == "int") & (numbers % 1 != 0)))
            if bad.any():
                row = int(bad.to_numpy().argmax())
                expected = "a whole number" if column.kind == "int" else "a number"
                raise ArtifactError(
                    f"{path}, row {row + 2}: {column.name} is {cells.iloc[row]!r}, not {expected}"
                )


TRACE_LENGTHS = Table(
    "trace_lengths.csv",
    (
        Column("request_id"),
        Column("prompt_id", "text"),
        Column("num_prefill_tokens", minimum=1),
        Column("num_decode_tokens", minimum=1),
    ),
)

TRACE_INTERVALS = Table(
    "trace_intervals.csv",
    (Column("request_id"), Column("inter_arrival_ns"), Column("arrival_time_ns")),
)

REQUEST_METRICS = Table(
    "request_metrics.csv",
    (
        Column("request_id"),
        Column("arrival_time_ns"),
        Column("first_token_time_ns", nullable=True),
        Column("ttft_ns", nullable=True),
        Column("completion_time_ns", nullable=True),
        Column("num_prefill_tokens", minimum=1),
        Column("num_decode_tokens", minimum=1),
        Column("num_decode_tokens_actual"),
        Column("status", "text"),
    ),
    (
        Column("submit_time_ns", nullable=True),
        Column("error_type", "text", nullable=True),
        Column("error_msg", "text", nullable=True),
    ),
)

TOKEN_METRICS = Table(
    "token_metrics.csv",
    (
        Column("request_id"),
        Column("token_index"),
        Column("token_time_ns"),
        Column("token_latency_ns", nullable=True),
    ),
)

ENGINE_STEPS = Table(
    "engine_steps.csv",
    (
        Column("step"),
        Column("schedule_begin_ns", minimum=None),
        Column("schedule_end_ns", minimum=None),
        Column("result_ns", nullable=True, minimum=None),
        Column("num_prefill_tokens"),
        Column("num_prefill_requests"),
        Column("num_decode_requests"),
        Column("kv_tokens"),
        Column("graph_mode", "text", nullable=True),
    ),
)

ENGINE_BATCHES = Table(
    "engine_batches.csv",
    (
        Column("step"),
        Column("request_id"),
        Column("num_scheduled_tokens", minimum=1),
        Column("num_computed_tokens"),
    ),
)


def read_workload_tables(directory: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`(trace_lengths, trace_intervals)` of a workload directory, joined by `request_id`, with
    their invariants checked.

    Raises `ArtifactError` naming file and row where ids are not 0, 1, 2 …, or arrivals are not the
    running sum of the intervals."""
    lengths, intervals = TRACE_LENGTHS.read(directory), TRACE_INTERVALS.read(directory)
    for table, frame in ((TRACE_LENGTHS, lengths), (TRACE_INTERVALS, intervals)):
        path = table.find(directory)
        if frame.empty:
            raise ArtifactError(f"{path}: there is no request in it")
        wrong = frame["request_id"].to_numpy() != np.arange(len(frame))
        if wrong.any():
            row = int(wrong.argmax())
            raise ArtifactError(
                f"{path}, row {row + 2}: request_id is {frame['request_id'].iloc[row]}, expected "
                f"{row}"
            )
    if len(lengths) != len(intervals):
        raise ArtifactError(
            f"{directory}: {len(lengths)} requests in trace_lengths.csv, {len(intervals)} in "
            f"trace_intervals.csv"
        )
    wrong = (
        intervals["arrival_time_ns"].to_numpy() != intervals["inter_arrival_ns"].cumsum().to_numpy()
    )
    if wrong.any():
        raise ArtifactError(
            f"{TRACE_INTERVALS.find(directory)}, row {int(wrong.argmax()) + 2}: "
            "arrival_time_ns is not the running sum of inter_arrival_ns"
        )
    return lengths, intervals


def read_run_tables(directory: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`(request_metrics, token_metrics)` of a run, both sorted by request (and token), with their
    invariants checked.

    Raises `ArtifactError` naming file and row: duplicate requests, tokens that are not contiguous,
    times that decrease, a negative TTFT, a token count that differs from
    `num_decode_tokens_actual`, a `first_token_time_ns` that is not the first token's, a
    `token_latency_ns` that is not the difference of the times."""
    requests, tokens = REQUEST_METRICS.read(directory), TOKEN_METRICS.read(directory)
    request_path, token_path = REQUEST_METRICS.find(directory), TOKEN_METRICS.find(directory)

    def refuse(path: Path, frame: pd.DataFrame, bad: "np.ndarray | pd.Series", why: str) -> None:
        bad = np.asarray(bad, dtype=bool)
        if bad.any():
            row = int(bad.argmax())
            raise ArtifactError(
                f"{path}, row {int(frame.index[row]) + 2}: request "
                f"{frame['request_id'].iloc[row]}: {why}"
            )

    refuse(request_path, requests, requests["request_id"].duplicated(), "appears twice")
    refuse(
        request_path,
        requests,
        ~requests["status"].isin(["ok", "error"]),
        "status is neither ok nor error",
    )
    ok = (requests["status"] == "ok").to_numpy()
    for column in ("first_token_time_ns", "ttft_ns", "completion_time_ns"):
        refuse(
            request_path,
            requests,
            ok & requests[column].isna().to_numpy(),
            f"is ok but has no {column}",
        )
    refuse(
        request_path,
        requests,
        ok & (requests["num_decode_tokens_actual"] == 0).to_numpy(),
        "is ok but has no token",
    )
    refuse(
        request_path,
        requests,
        (
            requests["first_token_time_ns"] - requests["arrival_time_ns"] != requests["ttft_ns"]
        ).fillna(False),
        "ttft_ns is not first_token_time_ns - arrival_time_ns",
    )

    order = (
        tokens.sort_values(["request_id", "token_index"], kind="stable")
        if not (tokens["request_id"].is_monotonic_increasing)
        else tokens
    )
    request_of, index_of = order["request_id"].to_numpy(), order["token_index"].to_numpy()
    starts = (
        np.r_[True, request_of[1:] != request_of[:-1]] if len(order) else np.zeros(0, dtype=bool)
    )
    expected = np.where(starts, 0, np.r_[0, index_of[:-1] + 1]) if len(order) else index_of
    refuse(token_path, order, index_of != expected, "token_index is not contiguous from 0")
    times = order["token_time_ns"].to_numpy()
    gaps = np.diff(times, prepend=times[:1])
    refuse(token_path, order, ~starts & (gaps < 0), "token_time_ns decreases")
    latency = order["token_latency_ns"]
    refuse(
        token_path,
        order,
        starts != latency.isna().to_numpy(),
        "token_latency_ns must be empty for token 0 and only there",
    )
    refuse(
        token_path,
        order,
        ~starts & (latency.fillna(0).to_numpy(dtype=np.int64) != gaps),
        "token_latency_ns is not the time since the token before",
    )

    counts = order.groupby("request_id").size().reindex(requests["request_id"]).fillna(0).to_numpy()
    refuse(
        request_path,
        requests,
        counts != requests["num_decode_tokens_actual"].to_numpy(),
        "num_decode_tokens_actual is not its number of rows in token_metrics.csv",
    )
    refuse(
        token_path,
        order,
        ~order["request_id"].isin(requests["request_id"]),
        "is not in request_metrics.csv",
    )
    first = (
        order.loc[starts].set_index("request_id")["token_time_ns"].reindex(requests["request_id"])
    )
    refuse(
        request_path,
        requests,
        (
            first.to_numpy(dtype=float)
            != requests["first_token_time_ns"].to_numpy(dtype=float, na_value=np.nan)
        )
        & first.notna().to_numpy(),
        "first_token_time_ns is not the time of token 0",
    )
    last = order.loc[np.r_[starts[1:], True] if len(order) else starts].set_index("request_id")[
        "token_time_ns"
    ]
    refuse(
        request_path,
        requests,
        requests["completion_time_ns"].to_numpy(dtype=float, na_value=np.nan)
        < last.reindex(requests["request_id"]).to_numpy(dtype=float),
        "completion_time_ns is before its last token",
    )
    return (
        requests.sort_values("request_id", kind="stable").reset_index(drop=True),
        order.reset_index(drop=True),
    )


def run_tables_from_token_times(
    lengths: pd.DataFrame,
    arrival_time_ns: np.ndarray,
    token_request: np.ndarray,
    token_time_ns: np.ndarray,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Build `(request_metrics, token_metrics)` from every token's request and time.

    `lengths`: one row a request, with `request_id` = 0 … n−1 and both token counts.
    `arrival_time_ns`: shape (n,). `token_request`, `token_time_ns`: shape (tokens,), a request's
    tokens in the order they were made. A request without tokens gets status `error`."""
    order = np.argsort(token_request, kind="stable")
    request_of, times = (
        np.asarray(token_request)[order],
        np.asarray(token_time_ns, dtype=np.int64)[order],
    )
    starts = (
        np.r_[True, request_of[1:] != request_of[:-1]] if len(order) else np.zeros(0, dtype=bool)
    )
    first_row = np.flatnonzero(starts)
    token_index = np.arange(len(order)) - np.repeat(
        first_row, np.diff(np.r_[first_row, len(order)])
    )
    latency = pd.array(np.diff(times, prepend=times[:1]), dtype="Int64")
    latency[starts] = pd.NA
    tokens = pd.DataFrame(
        {
            "request_id": request_of,
            "token_index": token_index,
            "token_time_ns": times,
            "token_latency_ns": latency,
        }
    )
    count = np.bincount(request_of, minlength=len(lengths))
    last_row = np.cumsum(count) - 1
    served = count > 0
    first_time = pd.array([pd.NA] * len(lengths), dtype="Int64")
    last_time = first_time.copy()
    first_time[served] = times[last_row[served] - count[served] + 1]
    last_time[served] = times[last_row[served]]
    requests = pd.DataFrame(
        {
            "request_id": np.arange(len(lengths)),
            "arrival_time_ns": arrival_time_ns,
            "first_token_time_ns": first_time,
            "ttft_ns": first_time - arrival_time_ns,
            "completion_time_ns": last_time,
            "num_prefill_tokens": lengths["num_prefill_tokens"].to_numpy(),
            "num_decode_tokens": lengths["num_decode_tokens"].to_numpy(),
            "num_decode_tokens_actual": count,
            "status": np.where(served, "ok", "error"),
        }
    )
    return requests, tokens

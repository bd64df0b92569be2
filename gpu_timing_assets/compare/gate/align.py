"""The same requests and tokens of every run on one grid, so that what follows is plain array
arithmetic.

A request counts if it finished in every run; one that failed anywhere is listed and left out
everywhere. A request's series is cut to the tokens that the real runs made (the fewest of them,
where they differ): a request that stopped early is compared on the tokens it has.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from gpu_timing_assets.compare.gate.load import Run
from gpu_timing_assets.core.errors import ArtifactError, IncomparableRunsError
from gpu_timing_assets.core.tables.schemas import REQUEST_METRICS


@dataclass(frozen=True)
class Grid:
    """The common requests, by id, and how many tokens of each count. All arrays have shape
    (requests,).
    """

    request_id: np.ndarray
    arrival_ns: np.ndarray
    prefill_tokens: np.ndarray
    tokens: np.ndarray

    def __len__(self) -> int:
        return len(self.request_id)

    @cached_property
    def first_row(self) -> np.ndarray:
        """Row of each request's token 0 in a token array of the grid."""
        return np.cumsum(self.tokens) - self.tokens

    @cached_property
    def interval_owner(self) -> np.ndarray:
        """Which request (its position) each interval between tokens belongs to; shape (sum of
        tokens − requests,).
        """
        return np.repeat(np.arange(len(self)), self.tokens - 1)


@dataclass(frozen=True)
class Series:
    """One run's token times on the grid, and the four latencies made from them, in milliseconds.

    `token_time_ns` has shape (sum of `grid.tokens`,): request by request, token by token.
    """

    run: Run
    grid: Grid
    token_time_ns: np.ndarray

    @property
    def label(self) -> str:
        return self.run.label

    @cached_property
    def first_ns(self) -> np.ndarray:
        return self.token_time_ns[self.grid.first_row]

    @cached_property
    def last_ns(self) -> np.ndarray:
        return self.token_time_ns[self.grid.first_row + self.grid.tokens - 1]

    @cached_property
    def ttft_ms(self) -> np.ndarray:
        """Planned arrival → first token at the client, per request."""
        return (self.first_ns - self.grid.arrival_ns) / 1e6

    @cached_property
    def e2e_ms(self) -> np.ndarray:
        """Planned arrival → last token at the client, per request."""
        return (self.last_ns - self.grid.arrival_ns) / 1e6

    @cached_property
    def tpot_ms(self) -> np.ndarray:
        """(last − first token) / (tokens − 1), per request; NaN for a request of one token."""
        gaps = self.grid.tokens - 1
        return np.where(
            gaps > 0, (self.last_ns - self.first_ns) / np.maximum(gaps, 1) / 1e6, np.nan
        )

    @cached_property
    def itl_ms(self) -> np.ndarray:
        """Time between consecutive tokens of one request; one value for every token but the
        first.
        """
        within = np.ones(max(len(self.token_time_ns) - 1, 0), dtype=bool)
        within[self.grid.first_row[1:] - 1] = False
        return np.diff(self.token_time_ns)[within] / 1e6

    def latency_ms(self, metric: str) -> np.ndarray:
        """The values of `TTFT`, `ITL`, `TPOT` or `E2E`, without those that are not defined."""
        values = {"TTFT": self.ttft_ms, "TPOT": self.tpot_ms, "E2E": self.e2e_ms}.get(metric)
        return self.itl_ms if values is None else values[~np.isnan(values)]

    @property
    def duration_s(self) -> float:
        """First planned arrival → last token."""
        return float(self.token_time_ns.max() - self.grid.arrival_ns.min()) / 1e9


@dataclass(frozen=True)
class Aligned:
    """All runs on one grid.

    `simulated` are the simulations to judge, `substituted` those with a part of a real run in place
    of a layer, which only say where an error comes from. `excluded` lists each request left out:
    `request_id`, `run_id`, `side`, `reason`; `completeness` has one row a run.
    """

    grid: Grid
    real: tuple[Series, ...]
    simulated: tuple[Series, ...]
    substituted: tuple[Series, ...]
    excluded: pd.DataFrame
    completeness: pd.DataFrame

    def simulation(self, label: str) -> Series:
        return next(series for series in self.simulated if series.label == label)


def align(real: list[Run], simulated: list[Run]) -> Aligned:
    """Put the runs on one grid.

    Raises `IncomparableRunsError` naming file and row where the runs do not hold the same requests
    with the same arrivals and lengths, or a simulation made fewer tokens than the real runs;
    `ArtifactError` if no request is left.
    """
    runs = [*real, *simulated]
    for run in runs[1:]:
        _refuse_other_requests(runs[0], run)
    requests = runs[0].requests
    ok = np.logical_and.reduce([(run.requests["status"] == "ok").to_numpy() for run in runs])
    if not ok.any():
        raise ArtifactError(
            f"{real[0].directory / REQUEST_METRICS.file}: no request finished in every run of the "
            "comparison: there is nothing to compare"
        )
    made = np.stack([run.requests["num_decode_tokens_actual"].to_numpy() for run in real])
    cut = np.where(ok, made.min(axis=0), 0)
    for run in simulated:
        fewer = ok & (run.requests["num_decode_tokens_actual"].to_numpy() < cut)
        if fewer.any():
            at = int(fewer.argmax())
            raise IncomparableRunsError(
                f"{_row_of(run, at)}: has {run.requests['num_decode_tokens_actual'].iloc[at]} "
                f"tokens where the real run "
                f"made {cut[at]}: simulate the workload again"
            )
    grid = Grid(
        requests["request_id"].to_numpy()[ok],
        requests["arrival_time_ns"].to_numpy()[ok],
        requests["num_prefill_tokens"].to_numpy()[ok],
        cut[ok],
    )
    return Aligned(
        grid=grid,
        real=tuple(Series(run, grid, _cut_tokens(run, cut)) for run in real),
        simulated=tuple(
            Series(run, grid, _cut_tokens(run, cut)) for run in simulated if not run.substitution
        ),
        substituted=tuple(
            Series(run, grid, _cut_tokens(run, cut)) for run in simulated if run.substitution
        ),
        excluded=_excluded(real, simulated),
        completeness=_completeness(real, simulated, len(grid), cut),
    )


def _cut_tokens(run: Run, cut: np.ndarray) -> np.ndarray:
    position = np.repeat(np.arange(len(cut)), run.requests["num_decode_tokens_actual"].to_numpy())
    return run.tokens["token_time_ns"].to_numpy()[
        run.tokens["token_index"].to_numpy() < cut[position]
    ]


def _refuse_other_requests(first: Run, other: Run) -> None:
    ids, other_ids = first.requests["request_id"], other.requests["request_id"]
    for run, missing_from, lonely in (
        (first, other, ~ids.isin(other_ids)),
        (other, first, ~other_ids.isin(ids)),
    ):
        if lonely.any():
            raise IncomparableRunsError(
                f"{_row_of(run, int(lonely.to_numpy().argmax()))}: is not in "
                f"{REQUEST_METRICS.find(missing_from.directory)}"
            )
    for column in ("arrival_time_ns", "num_prefill_tokens", "num_decode_tokens"):
        differs = (first.requests[column] != other.requests[column]).to_numpy()
        if differs.any():
            at = int(differs.argmax())
            raise IncomparableRunsError(
                f"{_row_of(other, at)}: {column} is {other.requests[column].iloc[at]}, but "
                f"{first.requests[column].iloc[at]} in {REQUEST_METRICS.find(first.directory)}: "
                "the runs did not do the same work"
            )


def _row_of(run: Run, position: int) -> str:
    request = run.requests["request_id"].iloc[position]
    in_file = REQUEST_METRICS.read(run.directory)["request_id"].to_numpy() == request
    return (
        f"{REQUEST_METRICS.find(run.directory)}, row {int(in_file.argmax()) + 2}: request {request}"
    )


def _excluded(real: list[Run], simulated: list[Run]) -> pd.DataFrame:
    rows = []
    for side, runs in (("real", real), ("simulated", simulated)):
        for run in runs:
            for failed in run.requests.loc[run.requests["status"] != "ok"].to_dict("records"):
                parts = [failed.get("error_type"), failed.get("error_msg")]
                reason = ": ".join(str(part) for part in parts if isinstance(part, str)) or "failed"
                rows.append((failed["request_id"], run.meta.run_id, side, reason))
    return pd.DataFrame(rows, columns=["request_id", "run_id", "side", "reason"])


def _completeness(
    real: list[Run], simulated: list[Run], compared: int, cut: np.ndarray
) -> pd.DataFrame:
    rows = []
    for side, runs in (("real", real), ("simulated", simulated)):
        for run in runs:
            tokens = run.requests["num_decode_tokens_actual"].to_numpy()
            rows.append(
                (
                    run.meta.run_id,
                    side,
                    run.label,
                    len(run.requests),
                    int((run.requests["status"] != "ok").sum()),
                    compared,
                    int(run.requests["num_decode_tokens"].sum()),
                    int(tokens.sum()),
                    int(cut.sum()),
                )
            )
    return pd.DataFrame(
        rows,
        columns=[
            "run_id",
            "side",
            "label",
            "requests",
            "failed_requests",
            "compared_requests",
            "planned_tokens",
            "made_tokens",
            "compared_tokens",
        ],
    )

"""The same requests and tokens of every run on one grid, so that what follows is plain array
arithmetic.

A request counts if it finished in every run; one that failed anywhere is listed and left out
everywhere. A request's series is cut to the tokens that the real runs made (the fewest of them,
where they differ): a request that stopped early is compared on the tokens it has.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from gpu_timing_assets.compare.gate.load import Run
from gpu_timing_assets.core.errors import ArtifactError, IncomparableRunsError
from gpu_timing_assets.core.tables.schemas import REQUEST_METRICS
from gpu_timing_assets.metrics.served import Grid, ServedRun


@dataclass(frozen=True)
class AlignedRun(ServedRun):
    """A run on the common grid, and the run itself."""

    run: Run = field(kw_only=True)

    @property
    def label(self) -> str:
        return self.run.label


@dataclass(frozen=True)
class Aligned:
    """All runs on one grid, each side in the order given."""

    grid: Grid
    real: tuple[AlignedRun, ...]
    every_simulation: tuple[AlignedRun, ...]

    @cached_property
    def simulated(self) -> tuple[AlignedRun, ...]:
        """The simulations to judge."""
        return tuple(run for run in self.every_simulation if not run.run.substitution)

    @cached_property
    def substituted(self) -> tuple[AlignedRun, ...]:
        """Those with a part of a real run in place of a layer: they only explain an error."""
        return tuple(run for run in self.every_simulation if run.run.substitution)

    @property
    def runs(self) -> list[Run]:
        return [aligned.run for aligned in (*self.real, *self.every_simulation)]

    def simulation(self, label: str) -> AlignedRun:
        return next(run for run in self.simulated if run.label == label)


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
        _refuse_fewer_tokens(run, cut)
    grid = Grid(
        requests["request_id"].to_numpy()[ok],
        requests["arrival_time_ns"].to_numpy()[ok],
        requests["num_prefill_tokens"].to_numpy()[ok],
        cut[ok],
    )

    def on_grid(runs: list[Run]) -> tuple[AlignedRun, ...]:
        return tuple(AlignedRun(grid, _cut_tokens(run, cut), run.gives, run=run) for run in runs)

    return Aligned(grid, on_grid(real), on_grid(simulated))


def _cut_tokens(run: Run, cut: np.ndarray) -> np.ndarray:
    position = np.repeat(np.arange(len(cut)), run.requests["num_decode_tokens_actual"].to_numpy())
    kept = run.tokens["token_index"].to_numpy() < cut[position]
    return run.tokens["token_time_ns"].to_numpy()[kept]


def _refuse_other_requests(first: Run, other: Run) -> None:
    ids, other_ids = first.requests["request_id"], other.requests["request_id"]
    for run, without, only_here in (
        (first, other, ~ids.isin(other_ids)),
        (other, first, ~other_ids.isin(ids)),
    ):
        if only_here.any():
            raise IncomparableRunsError(
                f"{_row_of(run, int(only_here.to_numpy().argmax()))}: is not in "
                f"{REQUEST_METRICS.find(without.directory)}"
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


def _refuse_fewer_tokens(simulated: Run, cut: np.ndarray) -> None:
    """`cut` is 0 for a request that is left out."""
    made = simulated.requests["num_decode_tokens_actual"].to_numpy()
    fewer = made < cut
    if fewer.any():
        at = int(fewer.argmax())
        raise IncomparableRunsError(
            f"{_row_of(simulated, at)}: has {made[at]} tokens where the real run made {cut[at]}: "
            "simulate the workload again"
        )


def _row_of(run: Run, position: int) -> str:
    """The request's row in the file, which need not be sorted."""
    request = run.requests["request_id"].iloc[position]
    in_file = REQUEST_METRICS.read(run.directory)["request_id"].to_numpy() == request
    return (
        f"{REQUEST_METRICS.find(run.directory)}, row {int(in_file.argmax()) + 2}: request {request}"
    )

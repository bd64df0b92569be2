"""Runs as they lie on disk: metadata, tables, and the engine's steps where recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gpu_timing_assets.compare.gate.cross_checks import (
    check_counts,
    check_steps_against_requests,
)
from gpu_timing_assets.core.comparison import ComparisonInputs
from gpu_timing_assets.core.errors import ArtifactError, IncomparableRunsError
from gpu_timing_assets.core.manifest import verify_directory
from gpu_timing_assets.core.run import (
    RUN_META_FILE,
    TOKEN_TIMES,
    RealRunMeta,
    SimRunMeta,
    read_complete_run,
    run_type_of,
)
from gpu_timing_assets.core.tables.invariants import read_request_metrics, read_run_tables
from gpu_timing_assets.core.tables.schemas import ENGINE_BATCHES, ENGINE_STEPS, REQUEST_METRICS
from gpu_timing_assets.core.tables.table import Table, refuse_row


@dataclass(frozen=True)
class Run:
    """One run. `requests` and `tokens` are sorted by request and token; `steps` and `batches` are
    `None` where the run did not record them.
    """

    label: str
    directory: Path
    meta: RealRunMeta | SimRunMeta
    requests: pd.DataFrame
    tokens: pd.DataFrame
    steps: pd.DataFrame | None
    batches: pd.DataFrame | None

    @property
    def is_real(self) -> bool:
        return isinstance(self.meta, RealRunMeta)

    @property
    def side(self) -> str:
        return "real" if self.is_real else "simulated"

    @property
    def substitution(self) -> str | None:
        return self.meta.substitution if isinstance(self.meta, SimRunMeta) else None

    @property
    def gives(self) -> frozenset[str]:
        """What its tables hold beyond each request's first and last token."""
        return frozenset(self.meta.gives if isinstance(self.meta, SimRunMeta) else (TOKEN_TIMES,))


def read_metas(
    inputs: ComparisonInputs, *, allow_invalid: bool
) -> tuple[list[RealRunMeta], list[SimRunMeta]]:
    """The metadata of the real runs and of the simulations, in the order given.

    Raises `UnfinishedArtifactError` for one that is not finished, `IncomparableRunsError` where a
    side is empty, a directory is given twice or is not of that side. A real run that judged itself
    invalid passes only with `allow_invalid`.
    """
    _check_side(inputs.real_run_dirs, "real", "real-bench")
    _check_side(inputs.sim_run_dirs, "simulated", "vidur-sim")
    real = [
        read_complete_run(directory, RealRunMeta, allow_invalid=allow_invalid)
        for directory in inputs.real_run_dirs
    ]
    return real, [read_complete_run(directory, SimRunMeta) for directory in inputs.sim_run_dirs]


def _check_side(directories: Sequence[Path], run_type: str, stage: str) -> None:
    if not directories:
        raise IncomparableRunsError(
            f"there is no finished {run_type} run to compare: make one with `{stage}`"
        )
    seen: set[Path] = set()
    for directory in directories:
        if directory.resolve() in seen:
            raise IncomparableRunsError(
                f"{directory} was given twice: a run has no noise against itself"
            )
        seen.add(directory.resolve())
        if (directory / RUN_META_FILE).is_file() and (found := run_type_of(directory)) != run_type:
            raise IncomparableRunsError(
                f"{directory} is a {found!r} run, expected {run_type!r}: give it on its own side"
            )


def simulation_labels(metas: list[SimRunMeta]) -> list[str]:
    """A short name for each simulation; the run's id where that would name two."""
    short = [meta.label for meta in metas]
    return [
        meta.run_id if short.count(name) > 1 else name
        for name, meta in zip(short, metas, strict=True)
    ]


def load_run(directory: Path, meta: RealRunMeta | SimRunMeta, label: str) -> Run:
    """A run whose simulator gives no token times is read from its request table alone.

    Raises `ArtifactError` naming the file, and the row, for a table that is missing, not as it was
    filed, malformed, breaks an invariant or is of another run.
    """
    verify_directory(directory)
    if isinstance(meta, SimRunMeta) and TOKEN_TIMES not in meta.gives:
        requests = read_request_metrics(directory)
        tokens = evenly_spread_tokens(requests)
    else:
        requests, tokens = read_run_tables(directory)
    if requests.empty:
        raise ArtifactError(f"{directory / 'request_metrics.csv'}: there is no request in it")
    steps, batches = _optional(ENGINE_STEPS, directory), _optional(ENGINE_BATCHES, directory)
    if batches is not None:
        check_batches(directory, batches, requests)
    tokens = tokens[["request_id", "token_index", "token_time_ns"]]
    run = Run(label, directory, meta, requests, tokens, steps, batches)
    check_counts(run)
    check_steps_against_requests(run)
    return run


def evenly_spread_tokens(requests: pd.DataFrame) -> pd.DataFrame:
    """Tokens at even distances from each request's first to its last, which alone are known: for
    the arithmetic of the grid. A failed request's stand where its last known time is.
    """
    count = requests["num_decode_tokens_actual"].to_numpy()
    first = requests["first_token_time_ns"].fillna(requests["arrival_time_ns"])
    last = requests["completion_time_ns"].fillna(first)
    owner = np.repeat(np.arange(len(count)), count)
    index = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    first_ns, last_ns = (times.to_numpy(dtype=np.int64)[owner] for times in (first, last))
    times = first_ns + (last_ns - first_ns) * index // np.maximum(count[owner] - 1, 1)
    return pd.DataFrame(
        {
            "request_id": requests["request_id"].to_numpy()[owner],
            "token_index": index,
            "token_time_ns": times,
        }
    )


def check_batches(directory: Path, batches: pd.DataFrame, requests: pd.DataFrame) -> None:
    """Raises `ArtifactError` naming the row of a request that is not in the run."""
    unknown = ~batches["request_id"].isin(requests["request_id"])
    why = f"its request is not in {REQUEST_METRICS.file}"
    refuse_row(ENGINE_BATCHES.find(directory), unknown.to_numpy(), why)


def _optional(table: Table, directory: Path) -> pd.DataFrame | None:
    return table.read(directory) if table.is_in(directory) else None

"""What a metric is: a formula, and how its statistics come from a run and a resample of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gpu_timing_assets.metrics.percentiles import STATISTICS, statistics_of
from gpu_timing_assets.metrics.resampling import Weights, weighted_statistics
from gpu_timing_assets.metrics.served import FloatArray, IntArray, ServedRun

RATE = "rate"


@dataclass(frozen=True)
class Objective:
    """What a request must keep to count as good."""

    ttft_ms: float
    tpot_ms: float


@dataclass(frozen=True, kw_only=True)
class Metric(ABC):
    """A metric of a run; a module of this package holds one as `METRIC`.

    `definition` is its formula; `statistics` what a verdict shows of it, `headline` those of them
    that the fidelity matrix shows; `order` where it stands among the metrics, the lowest first.
    `needs`: what a run must give (`core.run.TOKEN_TIMES`); of one that does not, it is undefined.
    """

    name: str
    unit: str
    definition: str
    statistics: tuple[str, ...]
    headline: tuple[str, ...]
    order: int = 1000
    lower_is_better: bool = True
    needs: frozenset[str] = frozenset()

    @property
    def slug(self) -> str:
        """Its part of the names of columns and checks."""
        return self.name.lower().replace(" ", "_")

    @property
    def of_whole_run(self) -> bool:
        """Whether its requests cannot be drawn: its interval comes from the runs alone."""
        return False

    def is_given_by(self, run: ServedRun) -> bool:
        return self.needs <= run.gives

    @abstractmethod
    def figures(self, run: ServedRun, objective: Objective) -> dict[str, float]:
        """Each statistic, in `unit`; NaN where it is undefined."""

    @abstractmethod
    def resampled(
        self, run: ServedRun, weights: Weights, objective: Objective
    ) -> dict[str, FloatArray]:
        """Each statistic under every resample, a drawn request with all its tokens; shapes
        (resamples,). Empty where the metric is undefined.
        """


@dataclass(frozen=True, kw_only=True)
class Distribution(Metric):
    """A metric with many values in a run, of which statistics are taken.

    `compute` gives them in `unit`; NaN, or no value, where one is undefined.
    """

    compute: Callable[[ServedRun], FloatArray]
    statistics: tuple[str, ...] = STATISTICS
    headline: tuple[str, ...] = ("p50", "p90", "p99")
    share_of: str

    @abstractmethod
    def owned(self, run: ServedRun) -> tuple[FloatArray, IntArray]:
        """The defined values and their requests' positions, ascending; shapes (values,)."""

    def values(self, run: ServedRun) -> FloatArray:
        """The defined values; shape (values,)."""
        return self.owned(run)[0]

    def figures(self, run: ServedRun, objective: Objective) -> dict[str, float]:
        return statistics_of(self.values(run), self.statistics)

    def resampled(
        self, run: ServedRun, weights: Weights, objective: Objective
    ) -> dict[str, FloatArray]:
        values, owner = self.owned(run)
        return weighted_statistics(values, owner, weights, self.statistics) if len(values) else {}


@dataclass(frozen=True, kw_only=True)
class PerRequest(Distribution):
    """One value a request: `compute` gives shape (requests,)."""

    share_of: str = "requests"

    def per_request(self, run: ServedRun) -> FloatArray:
        """Shape (requests,), NaN where undefined."""
        return self.compute(run) if self.is_given_by(run) else np.full(len(run.grid), np.nan)

    def owned(self, run: ServedRun) -> tuple[FloatArray, IntArray]:
        values = self.per_request(run)
        defined = ~np.isnan(values)
        return values[defined], np.flatnonzero(defined)


@dataclass(frozen=True, kw_only=True)
class PerToken(Distribution):
    """One value a token but a request's first; `compute`: shape (sum of tokens − requests,)."""

    share_of: str = "tokens"

    def owned(self, run: ServedRun) -> tuple[FloatArray, IntArray]:
        if not self.is_given_by(run):
            return np.zeros(0), np.zeros(0, dtype=np.int64)
        return self.compute(run), run.grid.interval_owner


@dataclass(frozen=True, kw_only=True)
class PerRun(Metric):
    """One value a run. Without `resample` it is a figure of the run as a whole."""

    compute: Callable[[ServedRun, Objective], float]
    resample: Callable[[ServedRun, Weights, Objective], FloatArray] | None = None
    statistics: tuple[str, ...] = (RATE,)
    headline: tuple[str, ...] = (RATE,)

    @property
    def of_whole_run(self) -> bool:
        return self.resample is None

    def figures(self, run: ServedRun, objective: Objective) -> dict[str, float]:
        [name] = self.statistics
        return {name: self.compute(run, objective) if self.is_given_by(run) else float("nan")}

    def resampled(
        self, run: ServedRun, weights: Weights, objective: Objective
    ) -> dict[str, FloatArray]:
        [name] = self.statistics
        if not self.is_given_by(run):
            return {}
        if self.resample is None:
            return {name: np.full(len(weights), self.compute(run, objective))}
        return {name: self.resample(run, weights, objective)}

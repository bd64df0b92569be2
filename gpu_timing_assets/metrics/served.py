"""A run as metrics see it: the times of its output tokens, request by request."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gpu_timing_assets.core.run import TOKEN_TIMES

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Grid:
    """The requests and how many tokens of each count; arrays of shape (requests,)."""

    request_id: IntArray
    arrival_ns: IntArray
    prefill_tokens: IntArray
    tokens: IntArray

    def __len__(self) -> int:
        return len(self.request_id)

    @cached_property
    def first_row(self) -> IntArray:
        """Row of each request's token 0 in a token array of the grid."""
        end: IntArray = np.cumsum(self.tokens)
        return end - self.tokens

    @cached_property
    def interval_owner(self) -> IntArray:
        """Position of each token interval's request; shape (sum of tokens − requests,)."""
        return np.repeat(np.arange(len(self)), self.tokens - 1)


@dataclass(frozen=True)
class ServedRun:
    """One run's token times on the grid.

    `token_time_ns` has shape (sum of `grid.tokens`,): request by request, token by token. `gives`
    is what the run knows beyond each request's first and last token; without `TOKEN_TIMES` the
    tokens between them are spread evenly.
    """

    grid: Grid
    token_time_ns: IntArray
    gives: frozenset[str] = frozenset({TOKEN_TIMES})

    @cached_property
    def first_ns(self) -> IntArray:
        return self.token_time_ns[self.grid.first_row]

    @cached_property
    def last_ns(self) -> IntArray:
        last_row: IntArray = self.grid.first_row + self.grid.tokens - 1
        return self.token_time_ns[last_row]

    @property
    def duration_s(self) -> float:
        """First planned arrival → last token."""
        return float(self.token_time_ns.max() - self.grid.arrival_ns.min()) / 1e9

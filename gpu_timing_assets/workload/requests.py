"""The requests of a workload in memory: one form for prompt files, synthetic prompts and traces."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float64]
else:  # the presets that mention them load no NumPy
    Integers = Floats = Any


@dataclass(frozen=True)
class TextPrompt:
    prompt_id: str
    text: str
    token_ids: list[int]


@dataclass(frozen=True)
class Prompts:
    """The prompts of n requests: texts, or random tokens.

    `prompt_ids`: each request's, length n. `texts`: the different prompts that have a text; empty
    if none has one. Otherwise `token_seeds`, shape (n,), fixes each prompt's tokens, after the
    blocks that `block_ids` names.
    """

    prompt_ids: list[str]
    texts: tuple[TextPrompt, ...] = ()
    token_seeds: Integers | None = None
    block_ids: list[list[int]] | None = None
    block_size_tokens: int = 0


@dataclass(frozen=True)
class Candidates:
    """Requests in the source's order before they are given arrivals.

    `num_prefill_tokens`, `num_decode_tokens`: shape (n,); the second is `None` where the source
    does not say. `source` describes where they come from, for `workload_meta.json`.
    """

    prompts: Prompts
    num_prefill_tokens: Integers
    num_decode_tokens: Integers | None
    source: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ClosedLoop:
    """Who sends which request, and how long they think before it; shape (n,) each.

    A user's next request is sent `think_time_ns` after the last one's completion, the first
    `think_time_ns` after the start.
    """

    user_id: Integers
    think_time_ns: Integers


@dataclass(frozen=True)
class Arrivals:
    """`times_ns`: shape (n,), never decreasing; of a closed loop, when each request would be sent
    if every request took no time.
    """

    times_ns: Integers
    closed_loop: ClosedLoop | None = None


@dataclass(frozen=True)
class Requests:
    """A whole workload, ordered by arrival; arrays of shape (n,)."""

    prompts: Prompts
    num_prefill_tokens: Integers
    num_decode_tokens: Integers
    arrival_time_ns: Integers
    closed_loop: ClosedLoop | None
    source: dict[str, Any]

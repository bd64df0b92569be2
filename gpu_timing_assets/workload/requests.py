"""The requests of a workload in memory: one form for prompt files, synthetic prompts and traces."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


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

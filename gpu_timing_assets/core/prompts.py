"""The prompts of a workload as token ids: what `prompts.jsonl` means, and the same ids on every
machine.

A prompt with a text has its ids, as tokenised when the workload was made, in
`prompt_token_ids.jsonl`: a replay needs no tokenizer. A prompt without a text is random tokens that
its `token_seed` fixes; where it has `block_ids`, as traces with block hashes do, it begins with
those blocks of `block_size_tokens` tokens, and a block's id fixes its tokens, so that prompts with
the same first ids share a prefix.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.files import parse_json
from gpu_timing_assets.core.tables.schemas import TRACE_LENGTHS
from gpu_timing_assets.core.workload import WORKLOAD_META_FILE, read_workload_meta

PROMPTS_FILE = "prompts.jsonl"
PROMPT_TOKEN_IDS_FILE = "prompt_token_ids.jsonl"

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1
_TAIL_SALT, _BLOCK_SALT = 0x74_61_69_6C, 0x62_6C_6F_63_6B


def prompt_token_ids(
    token_seed: int,
    num_tokens: int,
    base_vocab_size: int,
    *,
    special_token_ids: Sequence[int] = (),
    block_ids: Sequence[int] = (),
    block_size_tokens: int = 0,
) -> list[int]:
    """The `num_tokens` token ids of a prompt without a text: integer arithmetic alone, so the same
    everywhere.

    Token i of a sequence is mix(seed' + (i + 1)·golden) of SplitMix64 (Steele, Lea and Flood,
    OOPSLA 2014), scaled to 0 … `base_vocab_size` − 1 without `special_token_ids` (sorted, below
    `base_vocab_size`). The first tokens are those of the blocks, as many as fit; what the blocks do
    not cover comes from `token_seed`.
    """
    covered = min(len(block_ids) * block_size_tokens, num_tokens)
    parts = [
        (_seed(block, _BLOCK_SALT), min(block_size_tokens, covered - begin))
        for block, begin in zip(block_ids, range(0, covered, block_size_tokens or 1), strict=False)
    ]
    parts.append((_seed(token_seed, _TAIL_SALT), num_tokens - covered))
    return [
        int(token)
        for seed, count in parts
        for token in _tokens(seed, count, base_vocab_size, special_token_ids).tolist()
    ]


class WorkloadPrompts(Sequence[list[int]]):
    """The token ids of each request's prompt, by `request_id`, worked out when asked for.

    Raises `ArtifactError` naming file and line if `prompts.jsonl` or `prompt_token_ids.jsonl` is
    missing, malformed, not the one that `workload_meta.json` describes, or gives a prompt another
    length than `trace_lengths.csv`.
    """

    def __init__(self, workload_dir: Path) -> None:
        self._directory = workload_dir
        meta = read_workload_meta(workload_dir)
        self._base_vocab_size = meta.tokenizer.base_vocab_size
        self._special = list(meta.tokenizer.special_token_ids)
        lengths = TRACE_LENGTHS.read(workload_dir)
        self._prompt_id: list[str] = lengths["prompt_id"].tolist()
        self._num_tokens: list[int] = lengths["num_prefill_tokens"].tolist()
        hashes = meta.files_sha256
        # a million rows are kept as seeds alone where there is no more to them
        self._prompts: dict[str, int | dict[str, Any]] = {
            row["prompt_id"]: row
            if row.get("text") is not None or "block_ids" in row
            else int(row["token_seed"])
            for row in _read_rows(workload_dir / PROMPTS_FILE, hashes)
        }
        self._texts: dict[str, list[int]] = {}
        if any(
            isinstance(row, dict) and row.get("text") is not None for row in self._prompts.values()
        ):
            self._texts = {
                row["prompt_id"]: row["token_ids"]
                for row in _read_rows(workload_dir / PROMPT_TOKEN_IDS_FILE, hashes)
            }

    def __len__(self) -> int:
        return len(self._prompt_id)

    @overload
    def __getitem__(self, request_id: int) -> list[int]: ...
    @overload
    def __getitem__(self, request_id: slice) -> list[list[int]]: ...
    def __getitem__(self, request_id: int | slice) -> list[int] | list[list[int]]:
        if isinstance(request_id, slice):
            return [self[index] for index in range(*request_id.indices(len(self)))]
        prompt_id, num_tokens = self._prompt_id[request_id], self._num_tokens[request_id]
        row = self._prompts.get(prompt_id)
        if row is None:
            raise ArtifactError(
                f"{self._directory}/{PROMPTS_FILE}: prompt {prompt_id!r} (request {request_id}) "
                f"is missing"
            )
        if isinstance(row, int):
            row = {"token_seed": row, "block_ids": (), "block_size_tokens": 0}
        if row.get("text") is None:
            return prompt_token_ids(
                row["token_seed"],
                num_tokens,
                self._base_vocab_size,
                special_token_ids=self._special,
                block_ids=row["block_ids"],
                block_size_tokens=row["block_size_tokens"],
            )
        ids = self._texts.get(prompt_id)
        if ids is None or len(ids) != num_tokens:
            raise ArtifactError(
                f"{self._directory / PROMPT_TOKEN_IDS_FILE}: prompt {prompt_id!r} has "
                f"{len(ids or ())} token ids, request {request_id} in {TRACE_LENGTHS.file} has "
                f"{num_tokens}: generate the workload again"
            )
        return list(ids)

    def __iter__(self) -> Iterator[list[int]]:
        return (self[request_id] for request_id in range(len(self)))


def read_prompt_token_ids(workload_dir: Path) -> list[list[int]]:
    """Each request's prompt as token ids, ordered by `request_id`; lengths are exactly those of
    `trace_lengths.csv`.

    Raises `ArtifactError` as `WorkloadPrompts` does, which is the lazy form of this for workloads
    that are too large.
    """
    return list(WorkloadPrompts(workload_dir))


def _seed(value: int, salt: int) -> int:
    """SplitMix64's finaliser on Python integers: spreads neighbouring seeds over all 64 bits."""
    z = (value * _GOLDEN + salt) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def _tokens(
    seed: int, count: int, base_vocab_size: int, special_token_ids: Sequence[int]
) -> NDArray[np.uint64]:
    z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN) + np.uint64(seed)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    tokens = (
        (z >> np.uint64(32)) * np.uint64(base_vocab_size - len(special_token_ids))
    ) >> np.uint64(32)
    for special in special_token_ids:
        tokens += tokens >= np.uint64(special)
    return tokens


def _read_rows(path: Path, hashes: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        raise ArtifactError(f"{path} is missing: generate the workload again")
    with path.open("rb") as file:
        expected = hashes.get(path.name)
        if expected and hashlib.file_digest(file, "sha256").hexdigest() != expected:
            raise ArtifactError(
                f"{path} is not the file that {WORKLOAD_META_FILE} describes: generate the "
                f"workload again"
            )
        file.seek(0)
        for number, line in enumerate(file, start=1):
            try:
                row = parse_json(line)
            except ValueError as error:
                raise ArtifactError(f"{path}, line {number}: not JSON: {error}") from None
            if not isinstance(row, dict):
                raise ArtifactError(f"{path}, line {number}: not a JSON object")
            needed = ["prompt_id"]
            if row.get("text") is None and "token_ids" not in row:
                needed.append("token_seed")
            if missing := [name for name in needed if name not in row]:
                raise ArtifactError(f"{path}, line {number}: {missing[0]} is missing")
            yield row

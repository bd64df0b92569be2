"""Prompts from a JSONL file."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.workload.input_files import read_input
from gpu_timing_assets.workload.random_streams import RandomStream
from gpu_timing_assets.workload.requests import Candidates, Prompts, TextPrompt
from gpu_timing_assets.workload.tokenizer import WorkloadTokenizer

if TYPE_CHECKING:
    from gpu_timing_assets.config.workload import PromptFileSource

KNOWN_FIELDS = ("prompt_id", "text", "num_decode_tokens")


def read_prompt_file(path: Path) -> list[dict[str, Any]]:
    """The file's prompts, each with `prompt_id`, `text` and `num_decode_tokens` (`None` if it has
    none).

    Raises `WorkloadError` naming the file, the line and the field: not JSON, a field that is
    missing, unknown, of another type or empty, a `prompt_id` that occurs twice, no prompt at all.
    """
    try:
        lines = read_input(path).decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise WorkloadError(f"{path}: not UTF-8 (byte {error.start}): save it as UTF-8") from None
    prompts: list[dict[str, Any]] = []
    line_of: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        prompt = _check_prompt(line, where)
        first = line_of.setdefault(prompt["prompt_id"], number)
        if first != number:
            raise WorkloadError(
                f"{where}: prompt_id {prompt['prompt_id']!r} is that of line {first} already: "
                f"rename one"
            )
        prompts.append(prompt)
    if not prompts:
        raise WorkloadError(
            f"{path}: there is no prompt in it: add lines like "
            '{"prompt_id": "hello", "text": "Hello!"}'
        )
    return prompts


def _check_prompt(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise WorkloadError(f"{where}: not JSON ({error}): write one object per line") from None
    if not isinstance(row, dict):
        raise WorkloadError(f"{where}: not a JSON object: write one object per line")
    for name in ("prompt_id", "text"):
        if name not in row:
            raise WorkloadError(
                f"{where}: {name} is missing (found: {', '.join(row) or 'nothing'})"
            )
        if not isinstance(row[name], str) or not row[name].strip():
            raise WorkloadError(
                f"{where}: {name} is {row[name]!r:.60}, expected a text that is not empty"
            )
    if not row["prompt_id"].isprintable():
        raise WorkloadError(
            f"{where}: prompt_id {row['prompt_id']!r:.60} has characters that do not print: "
            f"remove them"
        )
    for name in row:
        if name not in KNOWN_FIELDS:
            raise WorkloadError(
                f"{where}: {name} is not a field of a prompt ({', '.join(KNOWN_FIELDS)}): remove it"
            )
    decode = row.get("num_decode_tokens")
    if decode is not None and (
        not isinstance(decode, int) or isinstance(decode, bool) or decode < 1
    ):
        raise WorkloadError(
            f"{where}: num_decode_tokens is {decode!r:.60}, expected a whole number above 0"
        )
    return {"prompt_id": row["prompt_id"], "text": row["text"], "num_decode_tokens": decode}


def prompt_file_candidates(
    source: "PromptFileSource",
    path: Path,
    tokenizer: WorkloadTokenizer,
    seed: int,
    count: int | None,
) -> Candidates:
    """`count` requests (all of the file's prompts once if `None`), prompts used again in rounds if
    there are fewer.

    Raises `WorkloadError` as `read_prompt_file` does, if a text gives no token, or if no prompt is
    within the bounds.
    """
    rows = read_prompt_file(path)
    token_ids = tokenizer.encode([row["text"] for row in rows])
    lengths = np.array([len(ids) for ids in token_ids])
    if not lengths.all():
        empty = rows[int(lengths.argmin())]["prompt_id"]
        raise WorkloadError(
            f"{path}: prompt {empty!r}: text gives no token with {tokenizer.name}'s tokenizer: "
            f"remove it"
        )
    longest = source.max_prefill_tokens or int(lengths.max())
    usable = np.flatnonzero((lengths >= source.min_prefill_tokens) & (lengths <= longest))
    if not len(usable):
        raise WorkloadError(
            f"{path}: no prompt has {source.min_prefill_tokens} to {longest} tokens (they have "
            f"{lengths.min()} to {lengths.max()}): widen min_prefill_tokens and max_prefill_tokens"
        )
    total = len(usable) if count is None else count
    rounds = -(-total // len(usable))
    stream = RandomStream(seed, "prompt_order")
    order = [
        usable[stream.permutation(len(usable))] if source.order == "shuffled" else usable
        for _ in range(rounds)
    ]
    chosen = np.concatenate(order)[:total]
    used = sorted(set(chosen.tolist()))
    decode = [rows[index]["num_decode_tokens"] for index in chosen]
    if any(value is None for value in decode):
        if any(value is not None for value in decode):
            missing = rows[int(chosen[decode.index(None)])]["prompt_id"]
            raise WorkloadError(
                f"{path}: prompt {missing!r} has no num_decode_tokens, others have: give it to "
                f"all or "
                "none, or set decode_lengths in the preset"
            )
        decode = []
    return Candidates(
        Prompts(
            [rows[index]["prompt_id"] for index in chosen],
            texts=tuple(
                TextPrompt(rows[index]["prompt_id"], rows[index]["text"], token_ids[index])
                for index in used
            ),
        ),
        lengths[chosen].astype(np.int64),
        np.array(decode, dtype=np.int64) if decode else None,
        {
            "prompts_in_file": len(rows),
            "prompts_outside_bounds": len(rows) - len(usable),
            "prompts_used": len(used),
        },
    )

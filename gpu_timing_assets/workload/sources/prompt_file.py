"""Prompts from a JSONL file."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from gpu_timing_assets.config.workload import Source, Tokens
from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.core.files import parse_json
from gpu_timing_assets.workload.draw_context import DrawContext
from gpu_timing_assets.workload.input_files import read_input
from gpu_timing_assets.workload.requests import Candidates, Integers, Prompts, TextPrompt

KNOWN_FIELDS = ("prompt_id", "text", "num_decode_tokens")


class PromptFileSource(Source):
    """Prompts from a JSONL file with `prompt_id`, `text` and optional `num_decode_tokens`, relative
    to `resources/prompts`.

    If more requests than prompts are wanted, the prompts are used again. Prompts outside the token
    bounds are left out and counted.
    """

    kind: Literal["prompt_file"]

    path: str = Field(min_length=1)
    """Path of the prompt file, absolute or relative to `resources/prompts`; it may be compressed
    (gzip, bzip2, xz or zip)."""

    order: Literal["file", "shuffled"] = "file"
    """Order of the prompts: `file` takes them as they stand, `shuffled` shuffles them by the seed,
    anew each time that all were used."""

    min_prefill_tokens: Tokens = 1
    """Shortest prompt used, in tokens."""

    max_prefill_tokens: Tokens | None = None
    """Longest prompt used, in tokens; null: any."""

    @property
    def input_paths(self) -> tuple[str, ...]:
        return (self.path,)

    def candidates(self, context: DrawContext, count: int | None) -> Candidates:
        """All of the file's prompts once if `count` is `None`; used again if there are fewer.

        Raises `WorkloadError` as `read_prompt_file` does, if a text gives no token, if no prompt is
        within the bounds, or if only some have a `num_decode_tokens`.
        """
        import numpy as np

        path = context.path(self.path)
        rows = read_prompt_file(path)
        token_ids = context.tokenizer.encode([row["text"] for row in rows])
        lengths = np.array([len(ids) for ids in token_ids])
        if not lengths.all():
            empty = rows[int(lengths.argmin())]["prompt_id"]
            raise WorkloadError(
                f"{path}: prompt {empty!r}: text gives no token with "
                f"{context.tokenizer.meta.name}'s tokenizer: remove it"
            )
        usable = self._within_bounds(path, lengths)
        total = len(usable) if count is None else count
        stream = context.stream("prompt_order")
        order = [
            usable[stream.permutation(len(usable))] if self.order == "shuffled" else usable
            for _ in range(-(-total // len(usable)))
        ]
        chosen = np.concatenate(order)[:total]
        used = sorted(set(chosen.tolist()))
        texts = [TextPrompt(rows[at]["prompt_id"], rows[at]["text"], token_ids[at]) for at in used]
        return Candidates(
            Prompts([rows[at]["prompt_id"] for at in chosen], texts=tuple(texts)),
            lengths[chosen].astype(np.int64),
            _decode_lengths(path, [rows[at] for at in chosen]),
            {
                "prompts_in_file": len(rows),
                "prompts_outside_bounds": len(rows) - len(usable),
                "prompts_used": len(used),
            },
        )

    def _within_bounds(self, path: Path, lengths: Integers) -> Integers:
        longest = self.max_prefill_tokens or int(lengths.max())
        within = (lengths >= self.min_prefill_tokens) & (lengths <= longest)
        if not within.any():
            raise WorkloadError(
                f"{path}: no prompt has {self.min_prefill_tokens} to {longest} tokens (they have "
                f"{lengths.min()} to {lengths.max()}): widen min_prefill_tokens and "
                "max_prefill_tokens"
            )
        return within.nonzero()[0]


def _decode_lengths(path: Path, prompts: list[dict[str, Any]]) -> Integers | None:
    """`None` where no prompt says how long its output is."""
    import numpy as np

    silent = [row["prompt_id"] for row in prompts if row["num_decode_tokens"] is None]
    if not silent:
        return np.array([row["num_decode_tokens"] for row in prompts], dtype=np.int64)
    if len(silent) < len(prompts):
        raise WorkloadError(
            f"{path}: prompt {silent[0]!r} has no num_decode_tokens, others have: give it to all "
            "or none, or set decode_lengths in the preset"
        )
    return None


def read_prompt_file(path: Path) -> list[dict[str, Any]]:
    """The file's prompts, each with `prompt_id`, `text` and `num_decode_tokens` (`None` if it has
    none).

    Raises `WorkloadError` naming the file, the line and the field: not JSON, a field that is
    missing, unknown, of another type or empty, a `prompt_id` that occurs twice, no prompt at all.
    """
    try:
        lines = read_input(path).decode("utf-8-sig").split("\n")
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
                "rename one"
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
        row = parse_json(line)
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
            "remove them"
        )
    if unknown := [name for name in row if name not in KNOWN_FIELDS]:
        known = ", ".join(KNOWN_FIELDS)
        raise WorkloadError(
            f"{where}: {unknown[0]} is not a field of a prompt ({known}): remove it"
        )
    decode = row.get("num_decode_tokens")
    if decode is not None and (
        not isinstance(decode, int) or isinstance(decode, bool) or decode < 1
    ):
        raise WorkloadError(
            f"{where}: num_decode_tokens is {decode!r:.60}, expected a whole number above 0"
        )
    return {"prompt_id": row["prompt_id"], "text": row["text"], "num_decode_tokens": decode}


PLUGIN = PromptFileSource

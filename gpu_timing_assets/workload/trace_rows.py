"""Every row of a trace file, whatever its format: what a format's reader gives."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.workload.requests import Integers, TextPrompt

MAX_TOKENS = 2**31


@dataclass(frozen=True)
class TraceRows:
    """Requests of a trace in its order; arrays of shape (n,).

    `rows`: where each stands in the file, counted from 1. `times_ns`: `None` if the format has
    none. `num_prefill_tokens`, `num_decode_tokens`: all 1 unless `has_lengths`. `blocks`: each
    prompt's block ids, of `block_size_tokens` tokens a block. `texts`: each prompt's. `columns`:
    the file's, where it has a header. `notes`: what a
    person should know of how it was read. `unusable`: rows that are none of these, by reason.
    """

    rows: Integers
    times_ns: Integers | None
    num_prefill_tokens: Integers
    num_decode_tokens: Integers
    has_lengths: bool = True
    blocks: list[list[int]] | None = None
    block_size_tokens: int = 0
    texts: list[TextPrompt] | None = None
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unusable: dict[str, list[int]] = field(default_factory=dict)

    @property
    def prompt_ids(self) -> list[str]:
        return [f"row-{row}" for row in self.rows.tolist()]

    def take(self, index: Integers) -> "TraceRows":
        """Those requests, in that order."""
        return replace(
            self,
            rows=self.rows[index],
            times_ns=None if self.times_ns is None else self.times_ns[index],
            num_prefill_tokens=self.num_prefill_tokens[index],
            num_decode_tokens=self.num_decode_tokens[index],
            blocks=None if self.blocks is None else [self.blocks[at] for at in index],
            texts=None if self.texts is None else [self.texts[at] for at in index],
        )


def refuse_times_that_go_back(path: Path, rows: TraceRows, column: str | None) -> None:
    """Raises `WorkloadError` naming the first row that is earlier than the one before."""
    if rows.times_ns is None:
        return
    back = (rows.times_ns[1:] < rows.times_ns[:-1]).nonzero()[0]
    if len(back):
        raise WorkloadError(
            f"{path}, row {int(rows.rows[back[0] + 1])}: {column} goes back: sort the file by it"
        )

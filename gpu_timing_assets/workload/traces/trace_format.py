"""What is known of a trace, whichever file it comes in, and the two forms that most have."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path

from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.workload.draw_context import DrawContext
from gpu_timing_assets.workload.trace_rows import TraceRows


@dataclass(frozen=True, kw_only=True)
class TraceColumns:
    """How a trace calls its columns; `None` for what it has not. Both lengths are there or neither.

    Times are in units of `time_unit_ns`, or dates if that is `None`.
    """

    time: str | None
    time_unit_ns: int | None = None
    prefill: str | None
    decode: str | None

    @property
    def names(self) -> list[str]:
        return [name for name in (self.time, self.prefill, self.decode) if name is not None]


@dataclass(frozen=True, kw_only=True)
class TraceFormat(ABC):
    """`name` is what presets call it, `title` what people do."""

    name: str
    title: str
    licence: str

    @abstractmethod
    def read(self, path: Path, context: DrawContext) -> TraceRows:
        """Every request in the file. Raises `WorkloadError` for what is malformed, naming the file,
        the row and the field.
        """

    def with_block_size(self, tokens: int) -> "TraceFormat":
        """The same with blocks of that many tokens. Raises `WorkloadError` if it has none."""
        raise WorkloadError(
            f"a trace of format {self.name} has no blocks: remove block_size_tokens"
        )

    def title_of(self, rows: TraceRows) -> str:
        """The title, with the version where the rows show it."""
        return self.title


@dataclass(frozen=True, kw_only=True)
class CsvTrace(TraceFormat):
    """A CSV file with a header, whose columns are found by name."""

    columns: TraceColumns

    def read(self, path: Path, context: DrawContext) -> TraceRows:
        from gpu_timing_assets.workload.csv_rows import read_csv_rows

        return read_csv_rows(path, self.columns)


@dataclass(frozen=True, kw_only=True)
class BlockHashTrace(TraceFormat):
    """A JSONL file; prompts with the same first ids in `blocks_field` share those blocks, of which
    each has ceil(length / `block_size_tokens`), as in every row of the public traces.
    """

    columns: TraceColumns
    blocks_field: str
    block_size_tokens: int

    def with_block_size(self, tokens: int) -> "BlockHashTrace":
        return replace(self, block_size_tokens=tokens)

    def read(self, path: Path, context: DrawContext) -> TraceRows:
        from gpu_timing_assets.workload.jsonl_rows import read_jsonl_rows

        return read_jsonl_rows(path, self.columns, self.blocks_field, self.block_size_tokens)

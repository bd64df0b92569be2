"""What the parts of a workload are drawn with, besides their own settings."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gpu_timing_assets.config.workload import TraceSelection, WorkloadPreset
from gpu_timing_assets.workload.input_files import resolve_input
from gpu_timing_assets.workload.random_streams import RandomStream
from gpu_timing_assets.workload.requests import Integers
from gpu_timing_assets.workload.tokenizer import WorkloadTokenizer

if TYPE_CHECKING:
    from gpu_timing_assets.workload.read_trace import Trace


@dataclass(frozen=True)
class DrawContext:
    """A workload's preset, the tokenizer that counts its prompts, and the files it may read."""

    preset: WorkloadPreset
    tokenizer: WorkloadTokenizer
    data_root: Path
    _traces: dict[TraceSelection, "Trace"] = field(default_factory=dict)

    def stream(self, purpose: str) -> RandomStream:
        return RandomStream(self.preset.seed, purpose)

    def token_seeds(self, count: int) -> Integers:
        """A seed below 2^53, which JSON keeps exactly, for each prompt's tokens."""
        return (self.stream("token_seeds").raw(count) >> 11).astype("int64")

    def path(self, name: str) -> Path:
        """Raises `WorkloadError` if the file may not be read or is not there."""
        return resolve_input(name, self.data_root)

    def trace(self, selection: TraceSelection) -> "Trace":
        """Read once, however many parts are taken from it. Raises as `read_trace` does."""
        from gpu_timing_assets.workload.read_trace import read_trace

        if selection not in self._traces:
            self._traces[selection] = read_trace(selection, self)
        return self._traces[selection]

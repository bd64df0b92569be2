"""BurstGPT's traces 1.1 and 2.0, whose times are whole seconds."""

from dataclasses import dataclass, replace
from pathlib import Path

from gpu_timing_assets.workload.draw_context import DrawContext
from gpu_timing_assets.workload.times import NS_PER_S
from gpu_timing_assets.workload.trace_rows import TraceRows
from gpu_timing_assets.workload.traces.trace_format import CsvTrace, TraceColumns


@dataclass(frozen=True, kw_only=True)
class BurstGptTrace(CsvTrace):
    """Each whole second becomes random times within it; in a file with fractions, none does."""

    def read(self, path: Path, context: DrawContext) -> TraceRows:
        """In the file's order still: the sorted times are dealt in it."""
        import numpy as np

        rows = super().read(path, context)
        assert rows.times_ns is not None
        if (rows.times_ns % NS_PER_S).any():
            return replace(
                rows, notes=("times have fractions of seconds, and are taken as they are",)
            )
        uniforms = context.stream("within_second").uniform(len(rows.times_ns))
        offsets_ns = (uniforms * NS_PER_S).astype(np.int64)
        return replace(rows, times_ns=np.sort(rows.times_ns + offsets_ns))

    def title_of(self, rows: TraceRows) -> str:
        return f"{self.title} {'2.0' if 'Session ID' in rows.columns else '1.1'}"


PLUGIN = BurstGptTrace(
    name="burstgpt",
    title="BurstGPT",
    licence="CC-BY-4.0",
    columns=TraceColumns(
        time="Timestamp", time_unit_ns=NS_PER_S, prefill="Request tokens", decode="Response tokens"
    ),
)

"""Arrivals as a trace recorded them."""

from typing import ClassVar, Literal

from gpu_timing_assets.config.workload import ArrivalProcess, TraceSelection, WorkloadPreset
from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.workload.draw_context import DrawContext
from gpu_timing_assets.workload.requests import Arrivals, Integers
from gpu_timing_assets.workload.times import NS_PER_S


class TraceArrivals(ArrivalProcess):
    """The times of the trace that the source is, or of another file."""

    has_end: ClassVar[bool] = True

    kind: Literal["trace"]

    trace: TraceSelection | None = None
    """Trace whose times are replayed; null: the source's."""

    @property
    def recorded(self) -> TraceSelection | None:
        return self.trace

    def check_fits(self, workload: WorkloadPreset) -> None:
        if self.trace is None and workload.source.recorded is None:
            raise ValueError("arrivals of kind trace need a trace of their own: the source is none")

    def count_within(self, context: DrawContext, duration_s: float | None) -> int:
        times = self._times_ns(context)
        if duration_s is None:
            return len(times)
        return int(times.searchsorted(round(duration_s * NS_PER_S), side="right"))

    def arrivals(self, context: DrawContext, count: int) -> Arrivals:
        times = self._times_ns(context)
        if len(times) < count:
            raise WorkloadError(
                f"arrivals: {count} requests are wanted, the trace has the times of {len(times)}"
            )
        return Arrivals(times[:count])

    def _times_ns(self, context: DrawContext) -> Integers:
        selection = self.trace or context.preset.source.recorded
        assert selection is not None  # see check_fits
        return context.trace(selection).times_ns()


PLUGIN = TraceArrivals

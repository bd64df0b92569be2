"""What a workload is made from: where its prompts come from, how long they are and when they
arrive.

A kind of a part is a preset beside the code that draws from it: a file in a room of
`gpu_timing_assets.workload`, or an entry point of the group `gpu_timing_assets.<room>`.
"""

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Self, get_args

from pydantic import Field, model_validator

from gpu_timing_assets.config.base import Preset
from gpu_timing_assets.config.plugins import NameOf, OneOf, Plugins
from gpu_timing_assets.core.data_root import WORKLOAD_ID_PATTERN

if TYPE_CHECKING:
    from gpu_timing_assets.workload.draw_context import DrawContext
    from gpu_timing_assets.workload.random_streams import RandomStream
    from gpu_timing_assets.workload.requests import Arrivals, Candidates, Integers
    from gpu_timing_assets.workload.traces.trace_format import TraceFormat

MAX_REQUESTS = 10_000_000

Rate = Annotated[float, Field(gt=0, le=1e9)]
RateOrNone = Annotated[float, Field(ge=0, le=1e9)]
Seconds = Annotated[float, Field(gt=0, le=1e9)]
Tokens = Annotated[int, Field(ge=1, le=2**31 - 1)]

TRACE_FORMATS: "Plugins[TraceFormat]" = Plugins(
    "trace format",
    "gpu_timing_assets.traces",
    lambda trace_format: trace_format.name,
    room="gpu_timing_assets.workload.traces",
)


class TraceSelection(Preset):
    """A trace file and which of its requests are taken. Requests outside the token bounds are left
    out and counted.
    """

    format: Annotated[str, NameOf(TRACE_FORMATS)]
    """Format of the trace file: which columns it has, and in which units."""

    path: str = Field(min_length=1)
    """Path of the trace file, absolute or relative to `resources/prompts`; it may be compressed
    (gzip, bzip2, xz or zip)."""

    block_size_tokens: Tokens | None = None
    """Tokens of a block that a hash stands for, in a format with block hashes; null: the
    format's."""

    name: str | None = None
    """Name of the trace in the workload's metadata; null: the format's."""

    licence: str | None = None
    """Licence of the trace in the workload's metadata; null: the format's."""

    window_start_s: float = Field(default=0, ge=0)
    """Start of the window that requests are taken from, in seconds after the trace's first row."""

    window_end_s: float | None = Field(default=None, gt=0)
    """End of that window, itself outside it, in seconds after the trace's first row; null: the
    trace's end."""

    max_requests: int | None = Field(default=None, ge=1)
    """Largest number of requests taken: the first of those in the window and the bounds; null:
    all."""

    target_rate_per_s: Rate | None = None
    """Mean rate, in requests per second, that the times of the requests taken are stretched or
    squeezed to; null: the times as recorded."""

    min_prefill_tokens: Tokens = 1
    """Shortest prompt taken, in tokens."""

    max_prefill_tokens: Tokens | None = None
    """Longest prompt taken, in tokens; null: any."""

    min_decode_tokens: Tokens = 1
    """Shortest output taken, in tokens."""

    max_decode_tokens: Tokens | None = None
    """Longest output taken, in tokens; null: any."""

    max_total_tokens: Tokens | None = None
    """Longest request taken, in tokens of prompt and output together; null: any."""

    @model_validator(mode="after")
    def _window_is_not_empty(self) -> Self:
        if self.window_end_s is not None and self.window_end_s <= self.window_start_s:
            raise ValueError("window_end_s must be after window_start_s")
        return self


class WorkloadPart(Preset):
    """The source, the lengths or the arrivals, of one of several kinds."""

    kind: str

    @property
    def recorded(self) -> TraceSelection | None:
        """The trace that it is taken from, if it is."""
        return None

    @property
    def input_paths(self) -> tuple[str, ...]:
        """The files that it reads: their hashes are part of the workload's identity."""
        return () if self.recorded is None else (self.recorded.path,)

    def check_fits(self, workload: "WorkloadPreset") -> None:
        """Raises `ValueError` if it does not go together with the other parts."""


class Source(WorkloadPart):
    """Where the prompts come from."""

    def check_fits(self, workload: "WorkloadPreset") -> None:
        if workload.prefill_lengths is not None:
            raise ValueError(
                f"prefill_lengths is for a synthetic source: a {self.kind} source has its own"
            )

    @abstractmethod
    def candidates(self, context: "DrawContext", count: int | None) -> "Candidates":
        """The first `count` requests, or all that there are. Raises `WorkloadError`."""


class LengthProcess(WorkloadPart):
    """How many tokens the prompts or the outputs have."""

    @abstractmethod
    def draw(self, stream: "RandomStream", count: int, context: "DrawContext") -> "Integers":
        """`count` token counts, shape (count,), each at least 1."""


class ArrivalProcess(WorkloadPart):
    """When the requests arrive."""

    has_duration: ClassVar[bool] = True
    """Whether `duration_s` can decide how many requests there are."""

    has_end: ClassVar[bool] = False
    """Whether it decides how many there are if nothing else does."""

    def check_fits(self, workload: "WorkloadPreset") -> None:
        if workload.duration_s is not None and not self.has_duration:
            raise ValueError(f"arrivals of kind {self.kind} have no duration: use num_requests")

    @abstractmethod
    def count_within(self, context: "DrawContext", duration_s: float | None) -> int | None:
        """How many requests arrive within `duration_s`, or ever; `None`: as many as there are."""

    @abstractmethod
    def arrivals(self, context: "DrawContext", count: int) -> "Arrivals":
        """The first `count` arrivals. Raises `WorkloadError` if there are fewer."""


def _kind(part: type[Preset]) -> str:
    return str(get_args(part.model_fields["kind"].annotation)[0])


def _kinds_in(room: str) -> OneOf:
    group, package = f"gpu_timing_assets.{room}", f"gpu_timing_assets.workload.{room}"
    kinds: Plugins[type[Preset]] = Plugins(f"kind of {room}", group, _kind, room=package)
    return OneOf(kinds.all, "kind")


AnySource = Annotated[Source, _kinds_in("sources")]
AnyLengths = Annotated[LengthProcess, _kinds_in("lengths")]
AnyArrivals = Annotated[ArrivalProcess, _kinds_in("arrivals")]


class WorkloadPreset(Preset):
    """The requests of a workload. All of it is seeded by `seed`, in independent streams: changing
    the lengths does not change the arrivals.

    The number of requests is `num_requests`, or what arrives in `duration_s` but at least
    `min_requests`, or, with neither, what the prompt file or the trace has.
    """

    workload_id: str = Field(pattern=WORKLOAD_ID_PATTERN, max_length=200)
    """Name of the workload everywhere: its partition, its directory, the runs of it."""

    seed: int = Field(default=0, ge=0)
    """Seed of every random draw: lengths, arrivals, order and tokens of the prompts."""

    source: AnySource
    """Source of the prompts: a prompt file, random tokens or a public trace."""

    prefill_lengths: AnyLengths | None = None
    """Distribution of the prompts' lengths, for a synthetic source; other sources have their
    own."""

    decode_lengths: AnyLengths | None = None
    """Distribution of the outputs' lengths, which replaces those of a prompt file or a trace; null:
    theirs."""

    arrivals: AnyArrivals
    """Arrival process: when each request is sent."""

    num_requests: int | None = Field(default=None, ge=1, le=MAX_REQUESTS)
    """Number of requests; excludes `duration_s`."""

    duration_s: Seconds | None = None
    """Seconds within which requests arrive, which decides their number; excludes
    `num_requests`."""

    min_requests: int = Field(default=1, ge=1, le=MAX_REQUESTS)
    """Smallest number of requests, where `duration_s` would give fewer."""

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if self.num_requests is not None and self.duration_s is not None:
            raise ValueError("num_requests and duration_s exclude each other: set one to null")
        for part in self.parts.values():
            part.check_fits(self)
        return self

    @property
    def parts(self) -> dict[str, WorkloadPart]:
        """By the name of their field; those that are not null."""
        names = ("source", "prefill_lengths", "decode_lengths", "arrivals")
        return {name: part for name in names if (part := getattr(self, name)) is not None}

"""What a workload is made from: where its prompts come from, how long they are and when they
arrive.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gpu_timing_assets.config.base import Preset
from gpu_timing_assets.core.data_root import WORKLOAD_ID_PATTERN

Rate = Annotated[float, Field(gt=0, le=1e9)]
Seconds = Annotated[float, Field(gt=0, le=1e9)]
Tokens = Annotated[int, Field(ge=1, le=2**31 - 1)]

TraceFormat = Literal[
    "azure_2023",
    "azure_2024",
    "splitwise",
    "mooncake",
    "qwen_bailian",
    "burstgpt",
    "sharegpt",
    "plain",
]


class TraceSelection(Preset):
    """A trace file and which of its requests are taken. Requests outside the token bounds are left
    out and counted.
    """

    format: TraceFormat
    """Whose columns the file has."""

    path: str = Field(min_length=1)
    """Absolute or relative to `resources/prompts`; the file may be compressed."""

    name: str | None = None
    """Replaces what is known of the format."""

    licence: str | None = None
    """Replaces what is known of the format."""

    window_start_s: float = Field(default=0, ge=0)
    """The first time taken, in seconds since the trace's first row."""

    window_end_s: float | None = Field(default=None, gt=0)
    """The first time no longer taken; null: the trace's end."""

    max_requests: int | None = Field(default=None, ge=1)
    """The first so many of those in the window; null: all."""

    target_rate_per_s: Rate | None = None
    """Stretches or squeezes the times so that the mean rate of the requests taken is this."""

    min_prefill_tokens: Tokens = 1
    """Requests with shorter prompts are left out."""

    max_prefill_tokens: Tokens | None = None
    """Requests with longer prompts are left out."""

    min_decode_tokens: Tokens = 1
    """Requests with shorter outputs are left out."""

    max_decode_tokens: Tokens | None = None
    """Requests with longer outputs are left out."""

    max_total_tokens: Tokens | None = None
    """Requests with more tokens, prompt and output together, are left out."""

    @model_validator(mode="after")
    def _window_is_not_empty(self) -> Self:
        if self.window_end_s is not None and self.window_end_s <= self.window_start_s:
            raise ValueError("window_end_s must be after window_start_s")
        return self


class PromptFileSource(Preset):
    """Prompts from a JSONL file with `prompt_id`, `text` and optional `num_decode_tokens`, relative
    to `resources/prompts`.

    If more requests than prompts are wanted, the prompts are used again. Prompts outside the token
    bounds are left out and counted.
    """

    kind: Literal["prompt_file"]

    path: str = Field(min_length=1)
    """Absolute or relative to `resources/prompts`."""

    order: Literal["file", "shuffled"] = "file"
    """`shuffled` shuffles each round by the seed."""

    min_prefill_tokens: Tokens = 1
    """Shorter prompts are left out."""

    max_prefill_tokens: Tokens | None = None
    """Longer prompts are left out."""


class SyntheticSource(Preset):
    """Prompts of random tokens, as long as `prefill_lengths` says."""

    kind: Literal["synthetic"]


class TraceSource(TraceSelection):
    """Requests of a public trace, with its lengths and, if the arrivals are of kind `trace`, its
    times.
    """

    kind: Literal["trace"]


Source = Annotated[PromptFileSource | SyntheticSource | TraceSource, Field(discriminator="kind")]


class FixedLengths(Preset):
    """All of one length."""

    kind: Literal["fixed"]

    tokens: Tokens
    """The length of each."""


class _BoundedLengths(Preset):
    minimum: Tokens = 1
    """The shortest, in tokens."""

    maximum: Tokens
    """The longest, in tokens."""

    @model_validator(mode="after")
    def _minimum_below_maximum(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is above maximum {self.maximum}")
        return self


class UniformLengths(_BoundedLengths):
    """Each length between the bounds is as likely."""

    kind: Literal["uniform"]


class LognormalLengths(_BoundedLengths):
    """exp(N(ln median, sigma²)), clipped to the bounds."""

    kind: Literal["lognormal"]

    median: float = Field(gt=0, le=2**31)
    """In tokens, before clipping."""

    sigma: float = Field(ge=0, le=8)
    """Standard deviation of the logarithm."""


class ZipfLengths(_BoundedLengths):
    """P(k) ∝ k^−exponent between the bounds."""

    kind: Literal["zipf"]

    maximum: int = Field(ge=1, le=10_000_000)
    """The longest, in tokens."""

    exponent: float = Field(gt=0, le=10)
    """The larger, the more short ones."""


class EmpiricalLengths(_BoundedLengths):
    """Drawn, with replacement, from one column of a trace, and clipped to the bounds."""

    kind: Literal["empirical"]

    maximum: Tokens = 2**31 - 1
    """The longest, in tokens."""

    trace: TraceSelection
    """From which file, and which of its requests."""

    column: Literal["num_prefill_tokens", "num_decode_tokens"]
    """Which of its lengths."""


LengthProcess = Annotated[
    FixedLengths | UniformLengths | LognormalLengths | ZipfLengths | EmpiricalLengths,
    Field(discriminator="kind"),
]


class PoissonArrivals(Preset):
    """Independent exponential intervals."""

    kind: Literal["poisson"]

    rate_per_s: Rate
    """Mean requests per second."""


class GammaArrivals(Preset):
    """Independent gamma intervals."""

    kind: Literal["gamma"]

    rate_per_s: Rate
    """Mean requests per second."""

    cv: float = Field(ge=0.01, le=20)
    """Coefficient of variation of the intervals: 1 is Poisson, above it is bursty."""


class ConstantArrivals(Preset):
    """Equal intervals, the first request at the start."""

    kind: Literal["constant"]

    rate_per_s: Rate
    """Requests per second."""


class AllAtOnceArrivals(Preset):
    """All at the start."""

    kind: Literal["all_at_once"]


class RampArrivals(Preset):
    """A Poisson process whose rate goes linearly from one value to another, and stays there."""

    kind: Literal["ramp"]

    from_rate_per_s: float = Field(ge=0, le=1e9)
    """Mean requests per second at the start."""

    to_rate_per_s: Rate
    """Mean requests per second at the end of the ramp and after it."""

    ramp_s: Seconds
    """How long the ramp is."""


class RateStep(Preset):
    """A rate and how long it lasts."""

    rate_per_s: float = Field(ge=0, le=1e9)
    """Mean requests per second."""

    duration_s: Seconds
    """How long."""


class StepArrivals(Preset):
    """A Poisson process whose rate changes in steps; the last step's rate, which may not be 0,
    stays.
    """

    kind: Literal["steps"]

    steps: tuple[RateStep, ...] = Field(min_length=1)
    """One after the other."""

    @model_validator(mode="after")
    def _last_rate_is_positive(self) -> Self:
        if self.steps[-1].rate_per_s == 0:
            raise ValueError("the last step's rate_per_s must be above 0, because it stays")
        return self


class OnOffArrivals(Preset):
    """A Poisson process that switches between two rates."""

    kind: Literal["on_off"]

    on_rate_per_s: Rate
    """Mean requests per second in the first phase."""

    off_rate_per_s: float = Field(default=0, ge=0, le=1e9)
    """Mean requests per second in the second phase."""

    on_s: Seconds
    """How long the first phase lasts."""

    off_s: Seconds
    """How long the second phase lasts."""

    random_phases: bool = False
    """The phases last exponentially, with those means."""


class ClosedLoopArrivals(Preset):
    """Clients each of which sends its next request a think time after its last one's completion."""

    kind: Literal["closed_loop"]

    users: int = Field(ge=1, le=100_000)
    """How many clients."""

    think_time: Literal["fixed", "exponential"] = "exponential"
    """How the think times are distributed."""

    think_time_s: float = Field(ge=0, le=1e6)
    """Their mean."""


class TraceArrivals(Preset):
    """The times of the trace that the source is, or of another file."""

    kind: Literal["trace"]

    trace: TraceSelection | None = None
    """The other file; null: the source's."""


ArrivalProcess = Annotated[
    PoissonArrivals
    | GammaArrivals
    | ConstantArrivals
    | AllAtOnceArrivals
    | RampArrivals
    | StepArrivals
    | OnOffArrivals
    | ClosedLoopArrivals
    | TraceArrivals,
    Field(discriminator="kind"),
]


class WorkloadPreset(Preset):
    """The requests of a workload. All of it is seeded by `seed`, in independent streams: changing
    the lengths does not change the arrivals.

    The number of requests is `num_requests`, or what arrives in `duration_s` but at least
    `min_requests`, or, with neither, what the prompt file or the trace has.
    """

    workload_id: str = Field(pattern=WORKLOAD_ID_PATTERN, max_length=200)
    """Names the workload everywhere: its partition, its directories, the runs of it."""

    seed: int = Field(default=0, ge=0)
    """Of all that is drawn."""

    source: Source
    """Where the prompts come from."""

    prefill_lengths: LengthProcess | None = None
    """How long the prompts of a synthetic source are; other sources have their own."""

    decode_lengths: LengthProcess | None = None
    """How long the outputs are; replaces what a prompt file or trace says."""

    arrivals: ArrivalProcess
    """When the requests arrive."""

    num_requests: int | None = Field(default=None, ge=1, le=10_000_000)
    """How many requests; excludes `duration_s`."""

    duration_s: Seconds | None = None
    """Requests arrive until then; excludes `num_requests`."""

    min_requests: int = Field(default=1, ge=1, le=10_000_000)
    """With `duration_s`: at least so many."""

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if self.num_requests is not None and self.duration_s is not None:
            raise ValueError("num_requests and duration_s exclude each other: set one to null")
        if self.source.kind == "synthetic":
            if self.prefill_lengths is None or self.decode_lengths is None:
                raise ValueError("a synthetic source needs prefill_lengths and decode_lengths")
            if (
                self.num_requests is None
                and self.duration_s is None
                and self.arrivals.kind != "trace"
            ):
                raise ValueError("a synthetic source needs num_requests or duration_s")
        elif self.prefill_lengths is not None:
            raise ValueError(
                f"prefill_lengths is for a synthetic source: a {self.source.kind} source has its "
                f"own"
            )
        if self.duration_s is not None and self.arrivals.kind in ("all_at_once", "closed_loop"):
            raise ValueError(
                f"arrivals of kind {self.arrivals.kind} have no duration: use num_requests"
            )
        if (
            self.arrivals.kind == "trace"
            and self.arrivals.trace is None
            and self.source.kind != "trace"
        ):
            raise ValueError("arrivals of kind trace need a trace of their own: the source is none")
        return self

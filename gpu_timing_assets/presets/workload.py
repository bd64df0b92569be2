"""What a workload is made from: where its prompts come from, how long they are and when they arrive."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gpu_timing_assets.artifacts.layout import WORKLOAD_ID_PATTERN
from gpu_timing_assets.presets.base import Preset

Rate = Annotated[float, Field(gt=0, le=1e9)]
Seconds = Annotated[float, Field(gt=0, le=1e9)]
Tokens = Annotated[int, Field(ge=1, le=2**31 - 1)]

TraceFormat = Literal["azure_2023", "azure_2024", "splitwise", "mooncake", "qwen_bailian", "burstgpt", "sharegpt", "plain"]


class TraceSelection(Preset):
    """A trace file and which of its requests are taken.

    `path` is absolute or relative to `resources/prompts`; it may be compressed. The window, in seconds since the
    trace's first row, includes its start and excludes its end. `target_rate_per_s` stretches or squeezes the times so
    that the mean rate of the requests taken is that. Requests outside the token bounds are left out and counted.
    `name` and `licence` replace what is known of the format.
    """

    format: TraceFormat
    path: str = Field(min_length=1)
    name: str | None = None
    licence: str | None = None
    window_start_s: float = Field(default=0, ge=0)
    window_end_s: float | None = Field(default=None, gt=0)
    max_requests: int | None = Field(default=None, ge=1)
    target_rate_per_s: Rate | None = None
    min_prefill_tokens: Tokens = 1
    max_prefill_tokens: Tokens | None = None
    min_decode_tokens: Tokens = 1
    max_decode_tokens: Tokens | None = None
    max_total_tokens: Tokens | None = None

    @model_validator(mode="after")
    def _window_is_not_empty(self) -> Self:
        if self.window_end_s is not None and self.window_end_s <= self.window_start_s:
            raise ValueError("window_end_s must be after window_start_s")
        return self


class PromptFileSource(Preset):
    """Prompts from a JSONL file with `prompt_id`, `text` and optional `num_decode_tokens`, relative to `resources/prompts`.

    If more requests than prompts are wanted, the prompts are used again. `order: shuffled` shuffles each round by the
    seed. Prompts outside the token bounds are left out and counted.
    """

    kind: Literal["prompt_file"]
    path: str = Field(min_length=1)
    order: Literal["file", "shuffled"] = "file"
    min_prefill_tokens: Tokens = 1
    max_prefill_tokens: Tokens | None = None


class SyntheticSource(Preset):
    """Prompts of random tokens, as long as `prefill_lengths` says."""

    kind: Literal["synthetic"]


class TraceSource(TraceSelection):
    """Requests of a public trace, with its lengths and, if the arrivals are of kind `trace`, its times."""

    kind: Literal["trace"]


Source = Annotated[PromptFileSource | SyntheticSource | TraceSource, Field(discriminator="kind")]


class FixedLengths(Preset):
    kind: Literal["fixed"]
    tokens: Tokens


class _BoundedLengths(Preset):
    minimum: Tokens = 1
    maximum: Tokens

    @model_validator(mode="after")
    def _minimum_below_maximum(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is above maximum {self.maximum}")
        return self


class UniformLengths(_BoundedLengths):
    kind: Literal["uniform"]


class LognormalLengths(_BoundedLengths):
    """exp(N(ln median, sigma²)), clipped to the bounds."""

    kind: Literal["lognormal"]
    median: float = Field(gt=0, le=2**31)
    sigma: float = Field(ge=0, le=8)


class ZipfLengths(_BoundedLengths):
    """P(k) ∝ k^−exponent between the bounds."""

    kind: Literal["zipf"]
    maximum: int = Field(ge=1, le=10_000_000)
    exponent: float = Field(gt=0, le=10)


class EmpiricalLengths(_BoundedLengths):
    """Drawn, with replacement, from one column of a trace, and clipped to the bounds."""

    kind: Literal["empirical"]
    maximum: Tokens = 2**31 - 1
    trace: TraceSelection
    column: Literal["num_prefill_tokens", "num_decode_tokens"]


LengthProcess = Annotated[
    FixedLengths | UniformLengths | LognormalLengths | ZipfLengths | EmpiricalLengths, Field(discriminator="kind")
]


class PoissonArrivals(Preset):
    kind: Literal["poisson"]
    rate_per_s: Rate


class GammaArrivals(Preset):
    """Independent gamma intervals; `cv` is their coefficient of variation: 1 is Poisson, above it is bursty."""

    kind: Literal["gamma"]
    rate_per_s: Rate
    cv: float = Field(ge=0.01, le=20)


class ConstantArrivals(Preset):
    """One request every 1/`rate_per_s`, the first at the start."""

    kind: Literal["constant"]
    rate_per_s: Rate


class AllAtOnceArrivals(Preset):
    kind: Literal["all_at_once"]


class RampArrivals(Preset):
    """A Poisson process whose rate goes linearly from one value to another in `ramp_s`, and stays there."""

    kind: Literal["ramp"]
    from_rate_per_s: float = Field(ge=0, le=1e9)
    to_rate_per_s: Rate
    ramp_s: Seconds


class RateStep(Preset):
    rate_per_s: float = Field(ge=0, le=1e9)
    duration_s: Seconds


class StepArrivals(Preset):
    """A Poisson process whose rate changes in steps; the last step's rate, which may not be 0, stays."""

    kind: Literal["steps"]
    steps: tuple[RateStep, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _last_rate_is_positive(self) -> Self:
        if self.steps[-1].rate_per_s == 0:
            raise ValueError("the last step's rate_per_s must be above 0, because it stays")
        return self


class OnOffArrivals(Preset):
    """A Poisson process that switches between two rates. The phases last as given or, with `random_phases`,
    exponentially with those means."""

    kind: Literal["on_off"]
    on_rate_per_s: Rate
    off_rate_per_s: float = Field(default=0, ge=0, le=1e9)
    on_s: Seconds
    off_s: Seconds
    random_phases: bool = False


class ClosedLoopArrivals(Preset):
    """`users` clients, each of which sends its next request a think time after its last one's completion."""

    kind: Literal["closed_loop"]
    users: int = Field(ge=1, le=100_000)
    think_time: Literal["fixed", "exponential"] = "exponential"
    think_time_s: float = Field(ge=0, le=1e6)


class TraceArrivals(Preset):
    """The times of the trace that the source is, or of another file."""

    kind: Literal["trace"]
    trace: TraceSelection | None = None


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
    """The requests of a workload. All of it is seeded by `seed`, in independent streams: changing the lengths does
    not change the arrivals.

    The number of requests is `num_requests`, or what arrives in `duration_s` but at least `min_requests`, or, with
    neither, what the prompt file or the trace has.
    `prefill_lengths` belongs to a synthetic source alone. `decode_lengths` replaces what a prompt file or trace says.
    """

    workload_id: str = Field(pattern=WORKLOAD_ID_PATTERN, max_length=200)
    seed: int = Field(default=0, ge=0)
    source: Source
    prefill_lengths: LengthProcess | None = None
    decode_lengths: LengthProcess | None = None
    arrivals: ArrivalProcess
    num_requests: int | None = Field(default=None, ge=1, le=10_000_000)
    duration_s: Seconds | None = None
    min_requests: int = Field(default=1, ge=1, le=10_000_000)

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if self.num_requests is not None and self.duration_s is not None:
            raise ValueError("num_requests and duration_s exclude each other: set one to null")
        if self.source.kind == "synthetic":
            if self.prefill_lengths is None or self.decode_lengths is None:
                raise ValueError("a synthetic source needs prefill_lengths and decode_lengths")
            if self.num_requests is None and self.duration_s is None and self.arrivals.kind != "trace":
                raise ValueError("a synthetic source needs num_requests or duration_s")
        elif self.prefill_lengths is not None:
            raise ValueError(f"prefill_lengths is for a synthetic source: a {self.source.kind} source has its own")
        if self.duration_s is not None and self.arrivals.kind in ("all_at_once", "closed_loop"):
            raise ValueError(f"arrivals of kind {self.arrivals.kind} have no duration: use num_requests")
        if self.arrivals.kind == "trace" and self.arrivals.trace is None and self.source.kind != "trace":
            raise ValueError("arrivals of kind trace need a trace of their own: the source is none")
        return self

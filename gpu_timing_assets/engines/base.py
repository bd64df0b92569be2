"""What an engine is to this project, whichever it is: the port that each plug-in fills."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from gpu_timing_assets.config.backend import ENGINES, BackendPreset
from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.engine_params import EngineParams

if TYPE_CHECKING:
    from gpu_timing_assets.engines.recorded_steps import RecordedSteps

Report = Callable[[str], None]


class Recording(Protocol):
    """The steps of a started engine, as it writes them down; while `Engine.observe_steps` is on
    also when each ran.
    """

    def read(self) -> "RecordedSteps":
        """All that are on disk by now; each call reads on from where the last one ended."""
        ...


class Engine(Protocol):
    """A started engine that serves token ids. `recording` is None if it records no steps."""

    params: EngineParams
    recording: Recording | None

    async def ready(self) -> None:
        """Called first, in the event loop that will serve: completes `params`."""
        ...

    async def observe_steps(self, on: bool) -> None:
        """From here on, or up to here, record when each step ran on the host and on the GPU.

        The engine must be idle. Raises `EngineError` for one that cannot.
        """
        ...

    def stream(
        self, request_id: str, prompt_token_ids: Sequence[int], num_tokens: int, *, stop_early: bool
    ) -> AsyncIterator[int]:
        """Serve one request: yields how many new tokens have reached the client, each time some do.

        Exactly `num_tokens` are made, or fewer if `stop_early` and the model ends its text. Raises
        a `GpuTimingError` if the engine has died, any other exception if this request alone failed.
        """
        ...

    async def flush_recording(self) -> None:
        """Have the recording of everything served so far on disk."""
        ...

    def shutdown(self) -> None: ...


@dataclass(frozen=True)
class Operator:
    """A part of a step that can be timed on its own, under its name in the bundle's tables.

    `call(layer)` runs it for one of `num_layers` layers with weights or KV caches of their own.
    `calls` of each layer are timed together, where one alone would be too short. `capture()` is
    what a CUDA graph of it has to be captured in.
    """

    name: str
    call: Callable[[int], Any]
    num_layers: int
    calls: int = 1
    capture: Callable[[], AbstractContextManager[Any]] = nullcontext


class ModelOperators(Protocol):
    """The operators of one model on one device as the engine runs them, with random weights."""

    def linears(self, token_counts: Sequence[int]) -> Iterator[tuple[int, Operator]]:
        """What depends on the number of tokens alone: linears, norms, activation, embedding."""
        ...

    def head(self, request_counts: Sequence[int]) -> Iterator[tuple[int, Operator]]:
        """`lm_head` and `sampler`, once a step, by the number of requests."""
        ...

    def kv_cache_save(self, tokens: int) -> Operator: ...

    def decode_attention(self, batch_size: int, context_tokens: int) -> Operator:
        """One query token for each of `batch_size` requests with `context_tokens` of context."""
        ...

    def prefill_attention(self, chunk_tokens: int, context_tokens: int) -> Operator:
        """A chunk of `chunk_tokens` of one request of which `context_tokens` are computed."""
        ...


@dataclass(frozen=True)
class Rank:
    """One of the `count` processes that share a model, which meet at `meeting_point` (a URL)."""

    index: int
    count: int
    meeting_point: str


class Collectives(Protocol):
    """What the ranks of a model wait for each other for. Every rank makes the same calls in the
    same order.
    """

    def all_reduces(self, token_counts: Sequence[int]) -> Iterator[tuple[int, Operator]]:
        """`all_reduce` of the hidden states, by the number of tokens."""
        ...

    def logits_gathers(self, request_counts: Sequence[int]) -> Iterator[tuple[int, Operator]]:
        """`logits_gather`, once a step behind `lm_head`, by the number of requests."""
        ...

    def shutdown(self) -> None: ...


@dataclass(frozen=True)
class InstalledEngine:
    """What would run here, as far as can be told without starting it; null where it cannot."""

    version: str | None = None
    native_library: str | None = None


@dataclass(frozen=True)
class EnginePlugin:
    """What an engine's package registers under the entry points `gpu_timing_assets.engines`.

    `start(config, scratch, device_name)` starts it with its files in `scratch`. Raises
    `DeviceError` if what it needs is not there, `EngineError` if it does not start.
    `computes`: it runs the model, and so needs the machine's instructions and memory.
    `records_steps`: it can write down what was in each of its steps and when.
    `caveat`: what a reader of its runs has to know, where they are not comparable under load.
    `installed(config)` tells what is installed; None for an engine that comes with this project.
    `operators(config, params)` makes its operators, with the parameters of the engine that was
    started; None for an engine that cannot be profiled. Raises `DeviceError` as `start`,
    `ProfilingBundleError` if they would be another engine's.
    `collectives(config, params, rank)` joins the other ranks, in a process of its own; None for an
    engine without tensor parallelism. Raises as `operators`.
    """

    name: str
    preset: type[BackendPreset]
    start: Callable[[ExperimentConfig, Path, str], Engine]
    computes: bool = True
    comparable_under_load: bool = True
    caveat: str | None = None
    records_steps: bool = False
    installed: Callable[[ExperimentConfig], InstalledEngine] | None = None
    operators: Callable[[ExperimentConfig, EngineParams], ModelOperators] | None = None
    collectives: Callable[[ExperimentConfig, EngineParams, Rank], Collectives] | None = None


def engine_plugin(name: str) -> EnginePlugin:
    """The engine of a backend's name. Raises `PresetError` if none is registered under it."""
    return cast(EnginePlugin, ENGINES[name])


def engines_that_can_be_profiled() -> list[str]:
    plugins = cast("dict[str, EnginePlugin]", ENGINES.all())
    return [name for name, plugin in plugins.items() if plugin.operators]

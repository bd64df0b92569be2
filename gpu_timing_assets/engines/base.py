"""What the replay asks of an engine, whichever it is."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gpu_timing_assets.config.backend import BackendPreset
from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.engine_params import EngineParams


class Engine(Protocol):
    """A started engine that serves token ids.

    `recording` is the file that `recording_scheduler` writes, None for an engine without one.
    """

    params: EngineParams
    recording: Path | None

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
class EnginePlugin:
    """What an engine's package registers under the entry points `gpu_timing_assets.engines`.

    `start(config, scratch, device_name)` starts it with its files in `scratch`. Raises
    `DeviceError` if what it needs is not there, `EngineError` if it does not start.
    """

    name: str
    preset: type[BackendPreset]
    start: Callable[[ExperimentConfig, Path, str], Engine]

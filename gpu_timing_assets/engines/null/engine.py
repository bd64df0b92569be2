"""An engine that computes nothing: what remains of a replay's timing is the client's own."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from gpu_timing_assets.config.dtype import resolved_dtype
from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.config.model_card import context_limit, read_model_dimensions
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.errors import EngineError
from gpu_timing_assets.engines.base import Recording
from gpu_timing_assets.engines.null import ENGINE, NullPreset
from gpu_timing_assets.engines.settings import environment, flat_settings


class NullEngine:
    """See `gpu_timing_assets.engines.base.Engine`.

    Yields a token every `null_token_interval_ms` (0: each time the event loop comes round).
    """

    def __init__(self, config: ExperimentConfig, scratch: Path, device_name: str) -> None:
        self.recording: Recording | None = None
        backend, dimensions = config.backend, read_model_dimensions(config.model)
        assert isinstance(backend, NullPreset)
        self._token_interval_s = backend.null_token_interval_ms / 1e3
        self.params = EngineParams(
            engine=ENGINE.name,
            engine_version="1",
            device_name=device_name,
            model_dimensions=dimensions,
            dtype=resolved_dtype(config.model, config.hardware),
            max_model_len=context_limit(config.model, backend),
            max_num_seqs=backend.max_num_seqs,
            max_num_batched_tokens=backend.max_num_batched_tokens,
            enable_chunked_prefill=False,
            async_scheduling=False,
            enable_prefix_caching=False,
            num_kv_blocks=0,
            kv_block_size=1,
            attention_backend="none",
            graph_mode="NONE",
            comparable_under_load=ENGINE.comparable_under_load,
            resolved=flat_settings(backend.model_dump(mode="json")),
            environment=environment(),
        )

    async def ready(self) -> None:
        return None

    async def observe_steps(self, on: bool) -> None:
        if on:
            raise EngineError(f"{ENGINE.name} has no steps: leave backend.observe_steps off")

    async def stream(
        self, request_id: str, prompt_token_ids: Sequence[int], num_tokens: int, *, stop_early: bool
    ) -> AsyncIterator[int]:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for number in range(1, num_tokens + 1):
            # due times, not delays: a client that is late does not slow the engine down
            await asyncio.sleep(max(0.0, begin + number * self._token_interval_s - loop.time()))
            yield 1

    async def flush_recording(self) -> None:
        return None

    def shutdown(self) -> None:
        return None

"""An engine whose steps take as long as a formula says, and which records them as vLLM's recording
scheduler does.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.engines.vllm.recording import StepRecording

WHILE_IDLE_S = 0.0005


@dataclass
class _Sequence:
    name: str
    prompt_tokens: int
    outputs: int
    computed: int = 0
    made: asyncio.Queue[int] = field(default_factory=asyncio.Queue)


class FormulaEngine:
    """Serves all requests in one batch; a step takes `step_ms + token_ms · tokens`."""

    def __init__(
        self, params: EngineParams, scratch: Path, step_ms: float, token_ms: float
    ) -> None:
        self.params, self.recording = params, StepRecording(scratch / "recording.jsonl")
        self._step_ms, self._token_ms = step_ms, token_ms
        self._running: list[_Sequence] = []
        self._records: list[list[object]] = []
        self._steps = 0
        self._observed: list[list[int]] = []
        self._loop: asyncio.Task[None] | None = None

    async def ready(self) -> None:
        return None

    async def observe_steps(self, on: bool) -> None:
        return None

    async def stream(
        self, request_id: str, prompt_token_ids: Sequence[int], num_tokens: int, *, stop_early: bool
    ) -> AsyncIterator[int]:
        sequence = _Sequence(request_id, len(prompt_token_ids), num_tokens)
        self._running.append(sequence)
        self._loop = self._loop or asyncio.create_task(self._serve())
        for _ in range(num_tokens):
            yield await sequence.made.get()

    async def _serve(self) -> None:
        while True:
            batch = list(self._running)
            if not batch:
                await asyncio.sleep(WHILE_IDLE_S)
                continue
            begin = time.monotonic_ns()
            chunks = [max(1, one.prompt_tokens - one.computed) for one in batch]
            rows = [
                [one.name, chunk, one.computed] for one, chunk in zip(batch, chunks, strict=True)
            ]
            self._records.append(["s", self._steps, begin, time.monotonic_ns(), rows])
            await asyncio.sleep((self._step_ms + self._token_ms * sum(chunks)) / 1e3)
            updated = time.monotonic_ns()
            for one, chunk in zip(batch, chunks, strict=True):
                one.computed += chunk
                one.made.put_nowait(1)
                if one.computed - one.prompt_tokens + 1 >= one.outputs:
                    self._running.remove(one)
            times = [begin, updated, updated, updated, begin, updated]
            self._observed.append([self._steps, sum(chunks), len(batch), *times])
            self._records.append(["u", self._steps, updated, time.monotonic_ns()])
            self._steps += 1

    async def flush_recording(self) -> None:
        with self.recording.path.open("a") as lines:
            lines.writelines(json.dumps(record) + "\n" for record in self._records)
        self._records.clear()
        self.recording.add_observed([self._observed])
        self._observed = []

    def shutdown(self) -> None:
        return None

"""The client: sends requests when they are due and notes when each token reaches it."""

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from gpu_timing_assets.core.errors import GpuTimingError
from gpu_timing_assets.engines.base import Engine

# so that what is due at once is not late already
START_DELAY_NS = 20_000_000


@dataclass(frozen=True)
class PlannedRequest:
    """`name` is the request's id in the engine (no '-' in it).

    `arrival_ns` counts from the replay's start or, in a closed loop, from the end of request number
    `after`.
    """

    name: str
    arrival_ns: int
    prompt_token_ids: Sequence[int]
    num_tokens: int
    after: int | None = None


@dataclass(frozen=True)
class Progress:
    requests_done: int
    requests_total: int
    tokens: int
    elapsed_s: float

    def __str__(self) -> str:
        rate = self.tokens / self.elapsed_s if self.elapsed_s else 0.0
        left = ""
        if self.requests_done:
            left_s = self.elapsed_s * (self.requests_total / self.requests_done - 1)
            left = f", about {left_s:.0f} s left"
        return f"{self.requests_done}/{self.requests_total} requests, {rate:,.0f} tokens/s{left}"


@dataclass(frozen=True)
class ReplayResult:
    """What the client saw; all times in ns since the replay's start, which was `start_ns` on the
    monotonic clock.

    `arrival_ns`: shape (requests,), when each request was due; `submit_ns`: when it was sent, −1 if
    never. `token_request`, `token_ns`: shape (tokens,), in the order the tokens came. `errors`:
    request → (type, message).
    """

    start_ns: int
    arrival_ns: np.ndarray
    submit_ns: np.ndarray
    token_request: np.ndarray
    token_ns: np.ndarray
    client_cpu_share: float
    wall_s: float
    errors: dict[int, tuple[str, str]] = field(default_factory=dict)


async def replay(
    engine: Engine,
    planned: Sequence[PlannedRequest],
    *,
    stop_early: bool = False,
    request_timeout_s: float = 600.0,
    on_progress: Callable[[Progress], None] | None = None,
    progress_interval_s: float = 1.0,
) -> ReplayResult:
    """Replay `planned` and wait until every request has ended.

    A request that fails or takes longer than `request_timeout_s` is noted in `errors`; an engine
    that died raises.
    """
    with _no_garbage_collection():
        client = _Client(engine, planned, stop_early, request_timeout_s)
        reporter = asyncio.create_task(_report(client, on_progress, progress_interval_s))
        try:
            await client.serve_all()
        finally:
            reporter.cancel()
    if on_progress:
        on_progress(client.progress())
    return client.result()


class _Client:
    """One replay under way: which request is due when, and what has come back."""

    def __init__(
        self,
        engine: Engine,
        planned: Sequence[PlannedRequest],
        stop_early: bool,
        request_timeout_s: float,
    ) -> None:
        self._engine, self._planned = engine, planned
        self._stop_early, self._request_timeout_s = stop_early, request_timeout_s
        self._followers: dict[int, list[int]] = {}
        for index, request in enumerate(planned):
            if request.after is not None:
                self._followers.setdefault(request.after, []).append(index)
        self._arrival_ns = np.array([request.arrival_ns for request in planned], dtype=np.int64)
        self._submit_ns = np.full(len(planned), -1, dtype=np.int64)
        self._token_request: list[int] = []
        self._token_ns: list[int] = []
        self._errors: dict[int, tuple[str, str]] = {}
        self._requests_done = self._wall_ns = 0
        self._loop = asyncio.get_running_loop()
        self._group = asyncio.TaskGroup()
        self._cpu_begin_ns = time.process_time_ns()
        self._start_ns = time.monotonic_ns() + START_DELAY_NS
        self._loop_offset_s = self._loop.time() - time.monotonic()

    async def serve_all(self) -> None:
        first = [index for index, request in enumerate(self._planned) if request.after is None]
        try:
            async with self._group:
                for index in sorted(first, key=lambda index: self._planned[index].arrival_ns):
                    await self._until_due(index)
                    self._group.create_task(self._serve(index))
        except* Exception as died:
            raise died.exceptions[0] from None
        self._wall_ns = self._now_ns()

    def progress(self) -> Progress:
        elapsed_s = (self._wall_ns or self._now_ns()) / 1e9
        return Progress(self._requests_done, len(self._planned), len(self._token_ns), elapsed_s)

    def result(self) -> ReplayResult:
        cpu_ns = time.process_time_ns() - self._cpu_begin_ns
        return ReplayResult(
            start_ns=self._start_ns,
            arrival_ns=self._arrival_ns,
            submit_ns=self._submit_ns,
            token_request=np.asarray(self._token_request, dtype=np.int64),
            token_ns=np.asarray(self._token_ns, dtype=np.int64),
            client_cpu_share=cpu_ns / max(self._wall_ns, 1),
            wall_s=self._wall_ns / 1e9,
            errors=self._errors,
        )

    def _now_ns(self) -> int:
        return time.monotonic_ns() - self._start_ns

    async def _until_due(self, index: int) -> None:
        due_s = (self._start_ns + int(self._arrival_ns[index])) / 1e9 + self._loop_offset_s
        if (delay := due_s - self._loop.time()) > 0:
            await asyncio.sleep(delay)

    async def _serve_when_due(self, index: int) -> None:
        await self._until_due(index)
        await self._serve(index)

    async def _serve(self, index: int) -> None:
        self._submit_ns[index] = self._now_ns()
        try:
            async with asyncio.timeout(self._request_timeout_s):
                await self._receive(index)
        except TimeoutError:
            self._errors[index] = ("Timeout", f"no end after {self._request_timeout_s:g} s")
        except GpuTimingError:
            raise  # the engine is dead: there is nobody to serve the others
        except Exception as error:
            self._errors[index] = (type(error).__name__, " ".join(str(error).split())[:300])
        self._requests_done += 1
        ended_ns = self._now_ns()
        for follower in self._followers.get(index, ()):
            self._arrival_ns[follower] += ended_ns
            self._group.create_task(self._serve_when_due(follower))

    async def _receive(self, index: int) -> None:
        request = self._planned[index]
        async for new_tokens in self._engine.stream(
            request.name, request.prompt_token_ids, request.num_tokens, stop_early=self._stop_early
        ):
            now_ns = self._now_ns()
            for _ in range(new_tokens):
                self._token_request.append(index)
                self._token_ns.append(now_ns)


async def _report(
    client: _Client, on_progress: Callable[[Progress], None] | None, interval_s: float
) -> None:
    while on_progress:
        await asyncio.sleep(interval_s)
        on_progress(client.progress())


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A collection in the middle of a replay would look like the engine's jitter."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()

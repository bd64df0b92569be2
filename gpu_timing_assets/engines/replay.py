"""The client: sends requests when they are due and notes when each token reaches it."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpu_timing_assets.core.errors import GpuTimingError
from gpu_timing_assets.engines.base import Engine
from gpu_timing_assets.engines.sender import Sender

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

    `arrival_ns`: shape (requests,), when each request was due; `submit_ns`: when it was handed
    over, `front_end_ns`: how long the engine's front end was busy with it then; −1 if never.
    `token_request`, `token_ns`: shape (tokens,), in the order the tokens came. `errors`:
    request → (type, message).
    """

    start_ns: int
    arrival_ns: np.ndarray
    submit_ns: np.ndarray
    front_end_ns: np.ndarray
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
        self._front_end_ns = self._submit_ns.copy()
        self._token_request: list[int] = []
        self._token_ns: list[int] = []
        self._errors: dict[int, tuple[str, str]] = {}
        self._requests_done = self._wall_ns = 0
        self._loop = asyncio.get_running_loop()
        self._group, self._sender = asyncio.TaskGroup(), Sender(self._hand_over)
        self._left, self._all_sent = len(planned), asyncio.Event()
        self._cpu_begin_ns = time.process_time_ns()
        self._start_ns = time.monotonic_ns() + START_DELAY_NS

    async def serve_all(self) -> None:
        for index, request in enumerate(self._planned):
            if request.after is None:
                self._sender.send_at(self._start_ns + request.arrival_ns, index)
        try:
            with self._sender.running():
                async with self._group:
                    # the group must not end before the last request was taken up
                    if self._planned:
                        await self._all_sent.wait()
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
            front_end_ns=self._front_end_ns,
            token_request=np.asarray(self._token_request, dtype=np.int64),
            token_ns=np.asarray(self._token_ns, dtype=np.int64),
            client_cpu_share=cpu_ns / max(self._wall_ns, 1),
            wall_s=self._wall_ns / 1e9,
            errors=self._errors,
        )

    def _now_ns(self) -> int:
        return time.monotonic_ns() - self._start_ns

    def _hand_over(self, index: int) -> None:
        """In the sender's thread."""
        self._submit_ns[index] = self._now_ns()
        self._loop.call_soon_threadsafe(self._take_up, index)

    def _take_up(self, index: int) -> None:
        self._group.create_task(self._serve(index))
        self._left -= 1
        if not self._left:
            self._all_sent.set()

    async def _serve(self, index: int) -> None:
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
            self._sender.send_at(self._start_ns + int(self._arrival_ns[follower]), follower)

    async def _receive(self, index: int) -> None:
        request = self._planned[index]
        stream = self._engine.stream(
            request.name, request.prompt_token_ids, request.num_tokens, stop_early=self._stop_early
        )
        first = _TimedStart(_next_or_0(stream))
        self._note(index, await first)
        self._front_end_ns[index] = first.busy_ns
        async for new_tokens in stream:
            self._note(index, new_tokens)

    def _note(self, index: int, new_tokens: int) -> None:
        now_ns = self._now_ns()
        for _ in range(new_tokens):
            self._token_request.append(index)
            self._token_ns.append(now_ns)


class _TimedStart(Generator[Any, Any, int]):
    """Awaits `answer`; `busy_ns`: how long it computed before it first waited for something.

    That is what the engine's front end does with a request in the event loop: as long, nobody else
    is served there.
    """

    def __init__(self, answer: Coroutine[Any, Any, int]) -> None:
        self._steps, self.busy_ns = answer, -1

    def __await__(self) -> Generator[Any, Any, int]:
        return self

    def send(self, value: Any) -> Any:
        if self.busy_ns >= 0:
            return self._steps.send(value)
        begin_ns = time.monotonic_ns()
        try:
            return self._steps.send(value)
        finally:
            self.busy_ns = time.monotonic_ns() - begin_ns

    def throw(self, *error: Any) -> Any:
        return self._steps.throw(*error)


async def _next_or_0(stream: AsyncIterator[int]) -> int:
    return await anext(stream, 0)


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
    # for good: with vLLM imported, every burst's collection would look through it again, for 0.4 s
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()

"""The client: sends requests when they are due and notes when each token reaches it."""

import asyncio
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from gpu_timing_assets.core.errors import GpuTimingError
from gpu_timing_assets.engines.base import Engine


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
    arrival_ns = np.array([request.arrival_ns for request in planned], dtype=np.int64)
    submit_ns = np.full(len(planned), -1, dtype=np.int64)
    followers: dict[int, list[int]] = {}
    for index, request in enumerate(planned):
        if request.after is not None:
            followers.setdefault(request.after, []).append(index)
    token_request: list[int] = []
    token_ns: list[int] = []
    errors: dict[int, tuple[str, str]] = {}
    done = 0

    async def serve(index: int, request: PlannedRequest) -> None:
        nonlocal done
        submit_ns[index] = time.monotonic_ns() - start_ns
        try:
            async with asyncio.timeout(request_timeout_s):
                async for new_tokens in engine.stream(
                    request.name,
                    request.prompt_token_ids,
                    request.num_tokens,
                    stop_early=stop_early,
                ):
                    now = time.monotonic_ns() - start_ns
                    for _ in range(new_tokens):
                        token_request.append(index)
                        token_ns.append(now)
        except TimeoutError:
            errors[index] = ("Timeout", f"no end after {request_timeout_s:g} s")
        except GpuTimingError:
            raise  # the engine is dead: there is nobody to serve the others
        except Exception as error:
            errors[index] = (type(error).__name__, " ".join(str(error).split())[:300])
        done += 1
        ended_ns = time.monotonic_ns() - start_ns
        for follower in followers.get(index, ()):
            arrival_ns[follower] += ended_ns
            group.create_task(serve_when_due(follower))

    async def until_due(index: int) -> None:
        due_s = (start_ns + int(arrival_ns[index])) / 1e9 + loop_offset
        if (delay := due_s - loop.time()) > 0:
            await asyncio.sleep(delay)

    async def serve_when_due(index: int) -> None:
        await until_due(index)
        await serve(index, planned[index])

    async def report() -> None:
        while on_progress:
            await asyncio.sleep(progress_interval_s)
            on_progress(
                Progress(done, len(planned), len(token_ns), (time.monotonic_ns() - start_ns) / 1e9)
            )

    # a collection in the middle of a replay would look like the engine's jitter
    gc.collect()
    gc.freeze()
    gc.disable()
    loop = asyncio.get_running_loop()
    cpu_begin, start_ns = time.process_time_ns(), time.monotonic_ns() + 20_000_000
    loop_offset = loop.time() - time.monotonic()
    reporter = asyncio.create_task(report())
    try:
        async with asyncio.TaskGroup() as group:
            for index in sorted(range(len(planned)), key=lambda index: planned[index].arrival_ns):
                if planned[index].after is None:
                    await until_due(index)
                    group.create_task(serve(index, planned[index]))
    except* Exception as died:
        raise died.exceptions[0] from None
    finally:
        reporter.cancel()
        gc.enable()
        gc.unfreeze()
    wall_ns = time.monotonic_ns() - start_ns
    if on_progress:
        on_progress(Progress(done, len(planned), len(token_ns), wall_ns / 1e9))
    return ReplayResult(
        start_ns=start_ns,
        arrival_ns=arrival_ns,
        submit_ns=submit_ns,
        token_request=np.asarray(token_request, dtype=np.int64),
        token_ns=np.asarray(token_ns, dtype=np.int64),
        client_cpu_share=(time.process_time_ns() - cpu_begin) / max(wall_ns, 1),
        wall_s=wall_ns / 1e9,
        errors=errors,
    )

"""The client: when it sends, what it notes, and what becomes of requests that fail. The engine
computes nothing.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from gpu_timing_assets.config.experiment import compose
from gpu_timing_assets.core.errors import EngineCrashError
from gpu_timing_assets.engines.null.engine import NullEngine
from gpu_timing_assets.engines.replay import PlannedRequest, Progress, ReplayResult, replay

MS = 1_000_000


def null_engine(tmp_path: Path, interval_ms: float = 0.0) -> NullEngine:
    config = compose(["backend=null_engine", f"backend.null_token_interval_ms={interval_ms}"])
    return NullEngine(config, tmp_path, "a CPU")


class TroubledEngine(NullEngine):
    """Prompts that begin with 1 fail, those with 2 never end, 3 ends early where it may, 4 kills
    the engine.
    """

    async def stream(
        self, request_id: str, prompt_token_ids: Sequence[int], num_tokens: int, *, stop_early: bool
    ) -> AsyncIterator[int]:
        kind = prompt_token_ids[0]
        yield 1
        if kind == 1:
            raise ValueError("no such\nadapter")
        if kind == 2:
            await asyncio.sleep(3600)
        if kind == 4:
            raise EngineCrashError("gone")
        if kind == 3 and stop_early:
            return
        yield num_tokens - 1


def troubled(tmp_path: Path) -> TroubledEngine:
    config = compose(["backend=null_engine"])
    return TroubledEngine(config, tmp_path, "a CPU")


def play(engine, requests: Sequence[tuple[int, int, int]], **arguments) -> ReplayResult:
    """`requests`: (arrival in ms, first prompt token, outputs)."""
    planned = [
        PlannedRequest(f"t.{index}", at * MS, [token, 5, 6], outputs)
        for index, (at, token, outputs) in enumerate(requests)
    ]
    return asyncio.run(replay(engine, planned, **arguments))


def test_times_count_from_the_start_of_the_replay_not_from_the_epoch(tmp_path) -> None:
    result = play(null_engine(tmp_path), [(0, 0, 3), (40, 0, 2)])
    assert 0 <= result.submit_ns[0] < 10_000 * MS
    assert result.token_ns.max() < 10_000 * MS


def test_requests_are_sent_at_their_planned_times_and_never_before(tmp_path) -> None:
    result = play(null_engine(tmp_path), [(0, 0, 2), (30, 0, 2), (60, 0, 2), (60, 0, 2)])
    assert result.arrival_ns.tolist() == [0, 30 * MS, 60 * MS, 60 * MS]
    assert (result.submit_ns >= result.arrival_ns).all()
    assert np.diff(result.submit_ns[:3]).min() > 0


def test_a_slow_request_holds_up_no_other(tmp_path) -> None:
    # open loop: 10 tokens a 10 ms each would end at 100 ms, the second is sent long before
    result = play(null_engine(tmp_path, interval_ms=10), [(0, 0, 10), (5, 0, 1)])
    assert result.submit_ns[1] < result.token_ns[result.token_request == 0].max()


def test_every_token_is_noted_in_the_order_it_came(tmp_path) -> None:
    result = play(null_engine(tmp_path, interval_ms=1), [(0, 0, 5), (2, 0, 7)])
    assert np.bincount(result.token_request).tolist() == [5, 7]
    assert (np.diff(result.token_ns) >= 0).all()
    assert all(
        result.token_ns[result.token_request == k].min() >= result.submit_ns[k] for k in (0, 1)
    )


def test_several_tokens_in_one_answer_have_one_time(tmp_path) -> None:
    result = play(troubled(tmp_path), [(0, 0, 6)])
    assert len(result.token_ns) == 6
    assert len(set(result.token_ns[1:].tolist())) == 1


def test_a_null_engine_can_take_its_time(tmp_path) -> None:
    result = play(null_engine(tmp_path, interval_ms=5), [(0, 0, 6)])
    assert result.token_ns[-1] - result.submit_ns[0] >= 30 * MS


def test_a_failing_request_is_noted_and_the_others_end(tmp_path) -> None:
    result = play(troubled(tmp_path), [(0, 1, 4), (1, 0, 4)])
    assert result.errors == {0: ("ValueError", "no such adapter")}
    assert (result.token_request == 1).sum() == 4


def test_a_request_that_does_not_end_is_given_up_after_its_time(tmp_path) -> None:
    result = play(troubled(tmp_path), [(0, 2, 4), (1, 0, 4)], request_timeout_s=0.1)
    assert result.errors == {0: ("Timeout", "no end after 0.1 s")}
    assert (result.token_request == 1).sum() == 4


def test_an_engine_that_dies_ends_the_replay(tmp_path) -> None:
    with pytest.raises(EngineCrashError, match="gone"):
        play(troubled(tmp_path), [(0, 4, 4), (60_000, 0, 4)])


@pytest.mark.parametrize(("stop_early", "tokens"), [(True, 1), (False, 5)])
def test_a_request_may_end_early_only_where_the_preset_says_so(
    tmp_path, stop_early, tokens
) -> None:
    result = play(troubled(tmp_path), [(0, 3, 5)], stop_early=stop_early)
    assert len(result.token_ns) == tokens
    assert not result.errors


class BusyFrontEnd(NullEngine):
    """Keeps the event loop busy for 2 ms with each request before it waits for anything."""

    async def stream(
        self, request_id: str, prompt_token_ids: Sequence[int], num_tokens: int, *, stop_early: bool
    ) -> AsyncIterator[int]:
        end_ns = time.monotonic_ns() + 2 * MS
        while time.monotonic_ns() < end_ns:
            pass
        await asyncio.sleep(0)
        for _ in range(num_tokens):
            yield 1


def test_a_burst_waits_for_the_front_end_and_is_not_sent_late(tmp_path) -> None:
    engine = BusyFrontEnd(compose(["backend=null_engine"]), tmp_path, "a CPU")
    result = play(engine, [(0, 0, 1)] * 100)
    assert (result.front_end_ns >= 2 * MS).all()
    # 100 requests keep the front end busy for 200 ms; they were handed over while it was
    assert result.token_ns.max() > 150 * MS
    assert np.median(result.submit_ns - result.arrival_ns) < 50 * MS


def test_progress_ends_at_all_requests_and_tokens(tmp_path) -> None:
    seen: list[Progress] = []
    play(null_engine(tmp_path), [(0, 0, 3), (1, 0, 4)], on_progress=seen.append)
    assert (seen[-1].requests_done, seen[-1].requests_total, seen[-1].tokens) == (2, 2, 7)
    assert "2/2 requests" in str(seen[-1])


def test_the_clients_share_of_a_cpu_is_measured(tmp_path) -> None:
    assert 0 < play(null_engine(tmp_path), [(0, 0, 200)]).client_cpu_share <= 1.5


def test_the_garbage_collector_runs_again_afterwards(tmp_path) -> None:
    import gc

    play(null_engine(tmp_path), [(0, 0, 3)])
    assert gc.isenabled()


class TestClosedLoop:
    """Requests that each wait for the one before of the same user."""

    def play(
        self, engine, requests: Sequence[tuple[int, int, int, int | None]], **arguments
    ) -> ReplayResult:
        planned = [
            PlannedRequest(f"t.{index}", think * MS, [token, 5], outputs, after)
            for index, (think, token, outputs, after) in enumerate(requests)
        ]
        return asyncio.run(replay(engine, planned, **arguments))

    def test_a_request_is_due_a_think_time_after_the_answer_before_it(self, tmp_path) -> None:
        result = self.play(
            null_engine(tmp_path, interval_ms=2), [(0, 0, 10, None), (30, 0, 2, 0), (5, 0, 2, 1)]
        )
        for request, think in ((1, 30), (2, 5)):
            answered = result.token_ns[result.token_request == request - 1].max()
            assert result.arrival_ns[request] >= answered + think * MS
            assert result.submit_ns[request] >= result.arrival_ns[request]

    def test_users_do_not_wait_for_each_other(self, tmp_path) -> None:
        result = self.play(
            null_engine(tmp_path, interval_ms=2), [(40, 0, 5, None), (0, 0, 1, None), (1, 0, 1, 1)]
        )
        assert result.submit_ns[2] < result.submit_ns[0]

    def test_a_user_goes_on_after_a_request_that_failed(self, tmp_path) -> None:
        result = self.play(troubled(tmp_path), [(0, 1, 4, None), (3, 0, 4, 0)])
        assert list(result.errors) == [0]
        assert (result.token_request == 1).sum() == 4

"""The bursts: within the engine's limits, the same every time, and of every kind that the fits
need.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_timing_assets.config.experiment import compose
from gpu_timing_assets.measure.profiling.burst_plan import (
    held_out,
    idle_burst,
    injection_bursts,
    prefill_bursts,
    storm_bursts,
)
from gpu_timing_assets_tests.unit.measure.profiling.planned_bursts import planned_bursts
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import engine_params

SEED = 20_000


@pytest.fixture(scope="module", params=["cpu", "quick", "standard"])
def grid(request):
    return compose([f"profiling={request.param}"]).profiling


@pytest.fixture(scope="module")
def params():
    config = compose()
    return engine_params(
        config,
        max_model_len=2048,
        max_num_seqs=64,
        max_num_batched_tokens=1024,
        num_kv_blocks=10_000,
    )


def test_every_kind_of_burst_is_planned(grid, params) -> None:
    without_pause = {"prefill"} if grid.burst_prefill_s else set()
    assert {burst.kind for burst in planned_bursts(grid, params, SEED)} == {
        "decode",
        "idle",
        "inject",
        "storm",
    } | without_pause


def test_prefill_goes_on_for_as_long_as_asked_without_filling_the_cache(grid, params) -> None:
    slow_ms, quick_ms = (
        {length: ms for length in grid.burst_prefill_tokens} for ms in (100.0, 0.01)
    )
    if grid.burst_prefill_s == 0:
        assert not list(prefill_bursts(grid, params, slow_ms))
        return
    [slow], [quick] = prefill_bursts(grid, params, slow_ms), prefill_bursts(grid, params, quick_ms)
    assert len(slow.requests) == grid.burst_prefill_s * 10
    assert {request.arrival_ns for request in slow.requests} == {0}
    tokens = sum(len(request.prompt_token_ids) + request.num_tokens for request in quick.requests)
    assert 0.4 < tokens / (params.num_kv_blocks * params.kv_block_size) <= 0.5


def test_prompts_are_injected_in_another_order_in_each_round(grid, params) -> None:
    sizes = {1: 2.0, 64: 3.0}
    first, second = (
        next(injection_bursts(grid, params, sizes, SEED, repeat)).requests for repeat in (0, 1)
    )
    assert [len(r.prompt_token_ids) for r in first] != [len(r.prompt_token_ids) for r in second]
    assert sorted(len(r.prompt_token_ids) for r in first) == sorted(
        len(r.prompt_token_ids) for r in second
    )


def test_no_request_is_longer_than_the_context(grid, params) -> None:
    for burst in planned_bursts(grid, params, SEED):
        assert (
            max(len(request.prompt_token_ids) + request.num_tokens for request in burst.requests)
            <= params.max_model_len
        )


def test_a_small_context_leaves_out_what_does_not_fit(grid, params) -> None:
    small = params.model_copy(update={"max_model_len": 512, "max_num_seqs": 8})
    for burst in planned_bursts(grid, small, SEED):
        assert (
            max(len(request.prompt_token_ids) + request.num_tokens for request in burst.requests)
            <= 512
        )
        if burst.kind == "decode":
            assert len(burst.requests) <= 8


def test_arrivals_are_sorted_and_names_are_unique(grid, params) -> None:
    for burst in planned_bursts(grid, params, SEED):
        arrivals = [request.arrival_ns for request in burst.requests if request.after is None]
        assert arrivals == sorted(arrivals)
        assert arrivals[0] >= 0
        names = [request.name for request in burst.requests]
        assert len(set(names)) == len(names)
        assert not any("-" in name or "." in name for name in names)


def test_the_plan_is_the_same_every_time_and_another_with_another_seed(grid, params) -> None:
    assert planned_bursts(grid, params, SEED) == planned_bursts(grid, params, SEED)
    assert planned_bursts(grid, params, SEED + 1) != planned_bursts(grid, params, SEED)


def test_a_decode_burst_holds_one_length_and_all_arrive_at_once(grid, params) -> None:
    bursts = [burst for burst in planned_bursts(grid, params, SEED) if burst.kind == "decode"]
    assert bursts
    for burst in bursts:
        assert (
            len(
                {
                    (request.arrival_ns, len(request.prompt_token_ids), request.num_tokens)
                    for request in burst.requests
                }
            )
            == 1
        )


def test_idle_prompts_wait_for_each_other_and_cover_the_grid(grid, params) -> None:
    burst = idle_burst(grid, params, SEED)
    assert [request.after for request in burst.requests] == [None, *range(len(burst.requests) - 1)]
    assert min(request.arrival_ns for request in burst.requests) >= 100_000_000
    assert sorted(len(request.prompt_token_ids) for request in burst.requests) == [
        length for length in grid.burst_prefill_tokens if length + 3 <= params.max_model_len
    ]


def test_prompts_are_injected_while_the_background_decodes(grid, params) -> None:
    """However long a step takes: counted in steps, of which each gives the background a token, it
    outlasts the prompts.
    """
    for burst in (burst for burst in planned_bursts(grid, params, SEED) if burst.kind == "inject"):
        *background, first = [request for request in burst.requests if request.after is None]
        injected = [request for request in burst.requests if request.after is not None]
        assert first.num_tokens == 1
        assert [request.after for request in injected] == [
            len(background) + index for index in range(len(injected))
        ]
        room = params.max_num_batched_tokens - len(background)
        chunks = sum(-(-len(request.prompt_token_ids) // room) for request in injected)
        # pauses are planned for steps as they were measured; the machine may be half as fast or one
        # and a half times
        pauses = (
            sum(request.arrival_ns for request in injected) / 1e6 / (2.0 + len(background) / 64)
        )
        for pace in (0.5, 1.5):
            steps = 1 + chunks + sum(request.num_tokens for request in injected) + pace * pauses
            assert min(request.num_tokens for request in background) > steps


def test_storms_have_lengths_of_a_uniform_draw_of_their_own(grid, params) -> None:
    for burst in (burst for burst in planned_bursts(grid, params, SEED) if burst.kind == "storm"):
        assert len(burst.requests) == grid.storm_requests
        assert len({len(request.prompt_token_ids) for request in burst.requests}) > 5
        assert len({request.num_tokens for request in burst.requests}) > 5


@pytest.mark.parametrize("times_slower", [1, 10, 100])
def test_a_storm_asks_for_no_more_than_was_served(grid, params, times_slower) -> None:
    step_ms = {size: times_slower * (2.0 + size / 64) for size in grid.burst_decode_batch_sizes}
    prefill_ms = {
        length: times_slower * (5.0 + length / 100) for length in grid.burst_prefill_tokens
    }
    for burst in storm_bursts(grid, params, step_ms, prefill_ms, SEED, repeat=0):
        asked_s = burst.requests[-1].arrival_ns / 1e9
        prompt_tokens = [len(request.prompt_token_ids) for request in burst.requests]
        prefill_s = (
            np.interp(prompt_tokens, list(prefill_ms), list(prefill_ms.values())).sum() / 1e3
        )
        decode_s = (
            sum(r.num_tokens for r in burst.requests)
            * min(ms / size for size, ms in step_ms.items())
            / 1e3
        )
        # the draws of a few dozen arrivals and lengths spread by that much
        assert asked_s > 0.6 * (prefill_s + decode_s)


def test_each_repeat_plays_storms_of_its_own(grid, params) -> None:
    storms = [one for one in planned_bursts(grid, params, SEED) if one.kind == "storm"]
    assert len(storms) == grid.burst_repeats * len(grid.storm_rates_per_s)
    assert len({tuple(r.arrival_ns for r in one.requests) for one in storms}) == len(storms)


class TestHeldOut:
    """Bursts that no fit may see."""

    @given(
        kinds=st.lists(st.sampled_from(["decode", "idle", "inject", "prefill", "storm"])),
        seed=st.integers(0, 1000),
    )
    def test_a_fifth_of_injections_and_of_storms_that_were_played_twice(self, kinds, seed) -> None:
        chosen = held_out(kinds, seed)
        assert chosen == held_out(kinds, seed)
        for kind in ("inject", "storm"):
            of_kind = {index for index, one in enumerate(kinds) if one == kind}
            wanted = -(-len(of_kind) // 5) if len(of_kind) > 1 else 0
            assert len(chosen & of_kind) == wanted
            chosen -= of_kind
        assert not chosen

    def test_another_seed_chooses_others(self) -> None:
        kinds = ["inject"] * 20 + ["storm"] * 20
        assert len({held_out(kinds, seed) for seed in range(10)}) > 5


def test_prompts_of_a_burst_share_no_prefix(grid, params) -> None:
    for burst in planned_bursts(grid, params, SEED):
        assert len({tuple(request.prompt_token_ids[:8]) for request in burst.requests}) == len(
            burst.requests
        )

"""The way into the engine: the front end takes one request after the other."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gpu_timing_assets.engine_loop.client import ClientLatency, ClientTiming
from gpu_timing_assets.engine_loop.fitted_time import FittedTime

NOTHING = ClientTiming.none().request_in


def visible_s(arrival_s: list[float], prompt_tokens: list[int]) -> np.ndarray:
    """A front end of 1 ms and 0.01 ms a token, of half that for who waited; behind it nothing."""
    alone = FittedTime(("num_prefill_tokens",), (1.0, 0.01), np.ones(1), 1)
    queued = FittedTime(("num_prefill_tokens",), (0.5, 0.005), np.ones(1), 1)
    timing = ClientTiming(alone, queued, NOTHING, NOTHING, NOTHING, NOTHING)
    client = ClientLatency(timing, np.random.default_rng(0))
    return client.visible_s(np.array(arrival_s), np.array(prompt_tokens))


def test_requests_that_come_at_once_wait_for_each_other() -> None:
    assert visible_s([0.0] * 3, [100] * 3).tolist() == [0.002, 0.003, 0.004]


def test_requests_far_apart_do_not() -> None:
    assert visible_s([0.0, 1.0], [100, 100]).tolist() == [0.002, 1.002]


@given(st.lists(st.tuples(st.floats(0, 0.05), st.integers(0, 500)), min_size=1, max_size=30))
def test_it_is_a_queue_of_one_server_in_any_order(requests) -> None:
    arrival_s, tokens = [at for at, _ in requests], [count for _, count in requests]
    through_s = visible_s(arrival_s, tokens)
    order = np.argsort(arrival_s, kind="stable")
    free_s = 0.0
    for index in order:
        alone_s = (1.0 + 0.01 * tokens[index]) / 1e3
        busy_s = through_s[index] - max(free_s, arrival_s[index])
        np.testing.assert_allclose(busy_s, alone_s if arrival_s[index] >= free_s else alone_s / 2)
        free_s = through_s[index]

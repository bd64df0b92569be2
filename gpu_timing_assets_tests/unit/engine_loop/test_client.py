"""The way into the engine: the front end takes one request after the other."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gpu_timing_assets.engine_loop.client import ClientLatency, ClientTiming
from gpu_timing_assets.engine_loop.fitted_time import FittedTime

NOTHING = ClientTiming.none().request_in


def visible_s(arrival_s: list[float], prompt_tokens: list[int]) -> np.ndarray:
    """A front end of 1 ms and 0.01 ms a token, behind it nothing."""
    front_end = FittedTime(("num_prefill_tokens",), (1.0, 0.01), np.ones(1), 1)
    timing = ClientTiming(front_end, NOTHING, NOTHING, NOTHING, NOTHING)
    client = ClientLatency(timing, np.random.default_rng(0))
    return client.visible_s(np.array(arrival_s), np.array(prompt_tokens))


def test_requests_that_come_at_once_wait_for_each_other() -> None:
    assert visible_s([0.0] * 3, [100] * 3).tolist() == [0.002, 0.004, 0.006]


def test_requests_far_apart_do_not() -> None:
    assert visible_s([0.0, 1.0], [100, 100]).tolist() == [0.002, 1.002]


@given(st.lists(st.tuples(st.floats(0, 0.05), st.integers(0, 500)), min_size=1, max_size=30))
def test_it_is_a_queue_of_one_server_in_any_order(requests) -> None:
    arrival_s, tokens = [at for at, _ in requests], [count for _, count in requests]
    free_s, expected = 0.0, [0.0] * len(requests)
    for index in np.argsort(arrival_s, kind="stable"):
        free_s = max(free_s, arrival_s[index]) + (1.0 + 0.01 * tokens[index]) / 1e3
        expected[index] = free_s
    np.testing.assert_allclose(visible_s(arrival_s, tokens), expected, atol=1e-9)

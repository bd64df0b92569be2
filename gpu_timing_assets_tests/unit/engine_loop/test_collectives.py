"""A model on several devices: what they exchange is part of a step, by its padded tokens."""

import pytest

from gpu_timing_assets.engine_loop.loop_timing import StepKernels
from gpu_timing_assets.engine_loop.step import Step
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import engine_params, kernel_times

# of `synthetic_bundle.all_reduce_table` and its gathering of the logits, ms
ALL_REDUCE, PER_TOKEN = 0.01, 0.0005
GATHER, PER_REQUEST = 0.03, 0.002


@pytest.fixture
def alone_and_shared(config):
    return [
        StepKernels(params, kernel_times(params))
        for params in (engine_params(config, tensor_parallel_size=n) for n in (1, 2))
    ]


def test_two_all_reduces_a_layer_and_one_of_the_embedding_by_padded_tokens(
    config, alone_and_shared
) -> None:
    layers = engine_params(config).model_dimensions.num_hidden_layers
    # 5 decoding requests replay the graph of 8
    alone_s, shared_s = (
        kernels.seconds(Step(num_decode_requests=5, decode_kv_tokens=500, num_outputs=5))
        for kernels in alone_and_shared
    )
    reduces_ms = (2 * layers + 1) * (ALL_REDUCE + PER_TOKEN * 8)
    gather_ms = GATHER + PER_REQUEST * 5
    assert (shared_s - alone_s) * 1e3 == pytest.approx(reduces_ms + gather_ms)


def test_a_chunk_that_gives_no_token_gathers_no_logits(config, alone_and_shared) -> None:
    layers = engine_params(config).model_dimensions.num_hidden_layers
    chunk = {"num_prefill_tokens": 48, "num_prefill_requests": 1, "prefill_attention_pairs": 1176}
    alone_s, shared_s = (kernels.seconds(Step(**chunk)) for kernels in alone_and_shared)
    # beyond the largest captured size: no padding
    reduces_ms = (2 * layers + 1) * (ALL_REDUCE + PER_TOKEN * 48)
    assert (shared_s - alone_s) * 1e3 == pytest.approx(reduces_ms)

"""Which CUDA graph a step replays, and to how many tokens it is padded."""

import numpy as np
import pytest

from gpu_timing_assets.engine_loop.cuda_graphs import graph_modes, padded_tokens

SIZES = (1, 2, 4, 8, 16)


def mode(
    prefill_tokens: int,
    decodes: int,
    cudagraph_mode: str = "FULL_AND_PIECEWISE",
    sizes: tuple[int, ...] = SIZES,
) -> str:
    return str(
        graph_modes(np.array([prefill_tokens]), np.array([decodes]), cudagraph_mode, sizes)[0]
    )


@pytest.mark.parametrize(
    ("prefill_tokens", "decodes", "expected"),
    [
        (0, 1, "full"),
        (0, 16, "full"),
        (0, 17, "eager"),
        (1, 0, "piecewise"),
        (12, 4, "piecewise"),
        (13, 4, "eager"),
        (500, 0, "eager"),
    ],
)
def test_decodes_replay_full_graphs_prompts_piecewise_ones_large_batches_none(
    prefill_tokens, decodes, expected
) -> None:
    assert mode(prefill_tokens, decodes) == expected


@pytest.mark.parametrize(
    ("cudagraph_mode", "decode", "mixed"),
    [
        ("NONE", "eager", "eager"),
        ("FULL", "full", "full"),
        ("FULL_DECODE_ONLY", "full", "eager"),
        ("PIECEWISE", "piecewise", "piecewise"),
        ("FULL_AND_PIECEWISE", "full", "piecewise"),
    ],
)
def test_the_engines_mode_decides(cudagraph_mode, decode, mixed) -> None:
    assert (mode(0, 4, cudagraph_mode), mode(3, 4, cudagraph_mode)) == (decode, mixed)


def test_nothing_is_captured_without_sizes() -> None:
    assert mode(0, 1, sizes=()) == "eager"


@pytest.mark.parametrize(
    ("tokens", "padded"), [(1, 1), (3, 4), (4, 4), (9, 16), (16, 16), (17, 17), (300, 300)]
)
def test_a_graph_is_padded_to_the_next_captured_size(tokens, padded) -> None:
    assert (
        padded_tokens(tokens, SIZES, "full") == padded_tokens(tokens, SIZES, "piecewise") == padded
    )


def test_an_eager_step_is_not_padded() -> None:
    assert padded_tokens(3, SIZES, "eager") == padded_tokens(3, (), "full") == 3

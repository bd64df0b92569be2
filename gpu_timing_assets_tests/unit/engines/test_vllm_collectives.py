"""Two ranks of vLLM on this CPU time what they exchange, through its own communicators."""

import pytest

from gpu_timing_assets.config.experiment import compose
from gpu_timing_assets.config.model_card import read_model_dimensions
from gpu_timing_assets.core.machine import native_library_of_cpu
from gpu_timing_assets.engines.rank_processes import run_rank_processes
from gpu_timing_assets.engines.vllm.operators import vocab_shard_size
from gpu_timing_assets.engines.vllm.surface import SHARED_MEMORY
from gpu_timing_assets.measure.profiling.parts import ALL_REDUCES, LOGITS_GATHERS
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import engine_params


def test_two_ranks_time_their_collectives_on_the_grid(tmp_path) -> None:
    pytest.importorskip("vllm", reason="no vLLM is installed")
    config = compose(
        [
            *("hardware=cpu", "model=qwen3-tiny", "backend=vllm", "profiling=cpu"),
            *("backend.tensor_parallel_size=2", "backend.max_num_seqs=4"),
            *("backend.max_num_batched_tokens=64", "backend.max_model_len=64"),
            "profiling.repeats=3",
        ]
    )
    params = engine_params(
        config,
        attention_backend="CPU_ATTN",
        graph_capture_sizes=(),
        native_library=native_library_of_cpu(),
    )
    first = run_rank_processes(
        "gpu_timing_assets.measure.profiling.collective_process",
        {"config": config.model_dump(mode="json"), "params": params.model_dump(mode="json")},
        tmp_path,
        2,
        timeout_s=120,
    )
    assert not list(SHARED_MEMORY.glob("gpu-timing-*"))
    reduces, gathers = ALL_REDUCES.read(first).rows, LOGITS_GATHERS.read(first).rows
    assert [row.num_tokens for row in reduces] == [1, 2, 4, 8, 16, 32, 64]
    assert [row.num_requests for row in gathers] == [1, 2, 4]
    assert {row.time.operator for row in (*reduces, *gathers)} == {"all_reduce", "logits_gather"}
    for row in (*reduces, *gathers):
        assert 0 < row.time.min <= row.time.median <= row.time.max, row


def test_the_vocabulary_is_padded_to_64_and_shared_out() -> None:
    dimensions = read_model_dimensions(compose(["model=qwen3-tiny"]).model)
    assert vocab_shard_size(dimensions, 2) == 151936 // 2
    assert vocab_shard_size(dimensions.model_copy(update={"vocab_size": 1000}), 2) == 512

"""Every committed workload preset composes, is named as its file, and can be made for the model it
is for.
"""

from pathlib import Path

import pytest

from gpu_timing_assets.config.experiment import compose, preset_names
from gpu_timing_assets.config.model_card import context_limit
from gpu_timing_assets.workload.draw_context import DrawContext
from gpu_timing_assets.workload.make_workload import make_requests
from gpu_timing_assets.workload.tokenizer import WorkloadTokenizer


@pytest.mark.parametrize("name", preset_names("workload"))
def test_a_committed_preset_can_be_made_within_the_models_context(
    name: str, tokenizer: WorkloadTokenizer, tmp_path: Path
) -> None:
    config = compose(
        [
            f"workload={name}",
            "model=qwen3-0.6b",
            "backend=vllm",
            "hardware=h100",
            *(["backend.max_model_len=32768"] if name.startswith("long_context") else []),
        ]
    )
    assert config.workload.workload_id == name
    requests = make_requests(DrawContext(config.workload, tokenizer, tmp_path))
    assert (requests.num_prefill_tokens + requests.num_decode_tokens).max() <= context_limit(
        config.model, config.backend
    )


@pytest.mark.parametrize("name", ["chat_poisson", "smoke"])
def test_the_presets_for_a_cpu_are_small(
    name: str, tokenizer: WorkloadTokenizer, tmp_path: Path
) -> None:
    preset = compose([f"workload={name}"]).workload
    requests = make_requests(DrawContext(preset, tokenizer, tmp_path))
    assert len(requests.arrival_time_ns) <= 24
    assert requests.arrival_time_ns[-1] < 9_000_000_000
    assert requests.num_decode_tokens.sum() < 1_000


@pytest.mark.parametrize("rate", [2, 5, 10, 15, 20, 25, 40, 60])
def test_the_sweep_differs_in_nothing_but_the_rate(rate: int) -> None:
    one, other = (compose([f"workload=mix_rate_{value}"]).workload for value in (2, rate))
    assert one.model_dump(exclude={"workload_id", "arrivals"}) == other.model_dump(
        exclude={"workload_id", "arrivals"}
    )
    assert other.arrivals.rate_per_s == rate

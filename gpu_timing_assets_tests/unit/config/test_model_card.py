"""Of a model's card everything is understood, or it is refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpu_timing_assets.config.experiment import compose
from gpu_timing_assets.config.model import ModelPreset
from gpu_timing_assets.config.model_card import (
    check_model,
    context_limit,
    longer_context,
    read_model_dimensions,
)
from gpu_timing_assets.core.data_root import RESOURCES
from gpu_timing_assets.core.engine_params import ModelDimensions
from gpu_timing_assets.core.errors import PresetError
from gpu_timing_assets.measure import profiling, real_bench

CARDS = RESOURCES / "model_cards"
TINY: dict[str, Any] = json.loads((CARDS / "qwen3-tiny" / "config.json").read_text())
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}

Read = Callable[[dict[str, Any]], ModelDimensions]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read_card(card: dict[str, Any]) -> ModelDimensions:
        (tmp_path / "config.json").write_text(json.dumps(card))
        return read_model_dimensions(ModelPreset(name="mine", card=str(tmp_path)))

    return read_card


def without(*names: str) -> dict[str, Any]:
    return {key: value for key, value in TINY.items() if key not in names}


@pytest.mark.parametrize("name", sorted(path.name for path in CARDS.iterdir()))
def test_every_shipped_card_is_understood(name: str) -> None:
    assert read_model_dimensions(ModelPreset(name=name, card=name)).num_hidden_layers > 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"quantization_config": {"quant_method": "fp8"}}, "quantization_config is"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "quantization_config is"),
        ({"use_sliding_window": True, "sliding_window": 4096}, "use_sliding_window is True"),
        ({"layer_types": ["sliding_attention"] * 4}, "layer_types is"),
        ({"layer_types": ["full_attention"] * 3}, "layer_types names 3 layers of 4"),
        ({"layer_types": "full_attention"}, "layer_types is 'full_attention'"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"attention_bias": 0}, "attention_bias is 0"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu', and only silu"),
        ({"architectures": ["Qwen3ForSequenceClassification"]}, "architectures is"),
        ({"architectures": ["Qwen3Model"]}, "architectures is"),
        ({"architectures": None}, "architectures is None"),
        ({"draft_vocab_size": 32000}, "'draft_vocab_size' (here 32000) is not understood"),
        ({"num_experts": 128}, "'num_experts' (here 128) is not understood"),
        ({"num_labels": 2}, "'num_labels' (here 2) is not understood"),
        ({"num_hidden_layers": 0}, "num_hidden_layers: Input should be greater than or equal to 1"),
        ({"num_hidden_layers": -4}, "num_hidden_layers: Input should be greater than"),
        ({"num_hidden_layers": [4]}, "num_hidden_layers: Input should be a valid integer"),
        ({"num_hidden_layers": True}, "num_hidden_layers: Input should be a valid integer"),
        ({"num_attention_heads": 15}, "15 heads cannot share 2 KV heads evenly"),
        ({"head_dim": None}, "head_dim: Input should be a valid integer"),
        ({"model_type": "llama"}, "model_type is 'llama', only dense 'qwen3' is supported"),
        ({"model_type": "qwen3_moe"}, "model_type is 'qwen3_moe'"),
        ({"torch_dtype": "float8_e4m3fn"}, "torch_dtype is 'float8_e4m3fn'"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "rope_type is 'llama3'"),
        ({"rope_scaling": [4.0]}, "rope_scaling is [4.0], expected an object or null"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "rope_scaling.factor: "),
        ({"rope_scaling": {**YARN, "factor": 8.0}}, "reaches 8192 tokens"),
        ({"rope_scaling": {**YARN, "mscale": 1}}, "rope_scaling.mscale is not understood"),
        (
            {"rope_scaling": YARN, "rope_parameters": {"rope_type": "default"}},
            "rope_scaling and rope_parameters differ",
        ),
    ],
    ids=str,
)
def test_what_is_not_simulated_is_refused_by_name(
    read: Read, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(PresetError) as caught:
        read({**TINY, **change})
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["max_position_embeddings", "head_dim", "architectures"])
def test_a_key_that_is_missing_is_named(read: Read, name: str) -> None:
    with pytest.raises(PresetError, match=f"field '{name}' is missing"):
        read(without(name))


def test_a_card_in_the_form_of_transformers_5_is_the_same_model(read: Read) -> None:
    newer = {
        **without("torch_dtype", "rope_theta", "rope_scaling"),
        "dtype": "bfloat16",
        "rope_parameters": {"rope_theta": 1000000, "rope_type": "default"},
        "layer_types": ["full_attention"] * 4,
        "pad_token_id": None,
    }
    assert read(newer) == read(TINY)


@pytest.mark.parametrize("key", ["rope_scaling", "rope_parameters"])
def test_yarn_is_recorded_and_told_apart(read: Read, key: str) -> None:
    scaled = read({**without("rope_scaling"), key: YARN})
    assert scaled.rope_scaling is not None
    assert scaled.rope_scaling.max_positions == scaled.max_position_embeddings == 4096
    assert scaled != read(TINY)


def test_the_card_beside_the_weights_is_the_one_that_counts(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**TINY, "max_position_embeddings": 2048}))
    config = compose(["model=qwen3-tiny", f"model.weights={tmp_path}", "backend=null_engine"])
    open_backend = config.backend.model_copy(update={"max_model_len": None})
    assert context_limit(config.model, open_backend) == 2048


def test_to_raise_max_model_len_is_advised_only_where_it_helps() -> None:
    config = compose(["model=qwen3-tiny", "backend=null_engine"])
    lowered, own = (
        config.backend.model_copy(update={"max_model_len": value}) for value in (512, 4096)
    )
    assert "raise backend.max_model_len" in longer_context(config.model, lowered)
    assert "take a model of a longer context" in longer_context(config.model, own)


def test_a_max_model_len_above_the_models_own_limit_is_refused() -> None:
    config = compose(["model=qwen3-tiny", "backend.max_model_len=5000"])
    with pytest.raises(PresetError, match="max_model_len is 5000, above the 4096"):
        check_model(config.model, config.backend)


def test_an_unsupported_model_starts_no_engine(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    config = compose([f"model.card={tmp_path}", "backend=vllm", f"data_root={tmp_path}"])

    def launch(*_: Any, **__: Any) -> Any:
        pytest.fail("an engine was started")

    with pytest.raises(PresetError, match="model_type is 'llama'"):
        real_bench.run(config, real_bench.RealBenchInputs(()), tmp_path / "runs", launch=launch)
    with pytest.raises(PresetError, match="model_type is 'llama'"):
        profiling.run(config, tmp_path / "bundle", launch=launch)

"""Vidur model configurations made from model cards."""

from dataclasses import field, make_dataclass
from functools import cache

from vidur.config.model_config import BaseModelConfig
from vidur.types import ActivationType, NormType

from gpu_timing_assets.core.engine_params import ModelDimensions


@cache
def register_model(name: str, dimensions: ModelDimensions) -> type[BaseModelConfig]:
    """A subclass of Vidur's `BaseModelConfig` that `BaseModelConfig.create_from_name(name)` finds.

    Vidur 0.0.26 derives the head size as embedding_dim // num_q_heads, which is 64 for Qwen3-0.6B
    and not its 128; the predictors here time attention by the profiled kernels and the KV cache is
    given in blocks, so nothing rests on it.
    """
    values = {
        "num_layers": dimensions.num_hidden_layers,
        "num_q_heads": dimensions.num_attention_heads,
        "num_kv_heads": dimensions.num_key_value_heads,
        "embedding_dim": dimensions.hidden_size,
        "mlp_hidden_dim": dimensions.intermediate_size,
        "max_model_len": dimensions.max_position_embeddings,
        "use_gated_mlp": True,
        "use_bias": False,
        "use_qkv_bias": False,
        "activation": ActivationType.SILU,
        "norm": NormType.RMS_NORM,
        "post_attn_norm": True,
        "vocab_size": dimensions.vocab_size,
    }
    types = BaseModelConfig.__dataclass_fields__
    return make_dataclass(
        f"{name.replace('-', '_').replace('.', '_')}_ModelConfig",
        [(key, types[key].type, field(default=value)) for key, value in values.items()],
        bases=(BaseModelConfig,),
        namespace={"get_name": staticmethod(lambda: name)},
    )

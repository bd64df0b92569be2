"""The operators of a dense Qwen3 as vLLM runs them, each callable alone, with random weights."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.config.hardware import HardwarePreset
from gpu_timing_assets.config.model_card import read_model_dimensions
from gpu_timing_assets.core.engine_params import EngineParams, ModelDimensions
from gpu_timing_assets.core.errors import DeviceError, ProfilingBundleError
from gpu_timing_assets.engines.base import Operator
from gpu_timing_assets.engines.vllm.attention import (
    ATTENTION_CASES,
    AttentionCase,
    Batch,
    Heads,
    PagedBatch,
)
from gpu_timing_assets.engines.vllm.surface import (
    check_surface,
    cpu_linear,
    custom_ops,
    limit_instruction_set,
    native_library,
)

# beyond the L2 cache of an H100 (50 MB) or an A100 (40 MB): a second layer evicts the first
DISTINCT_BYTES = 160 * 2**20
MIN_LAYERS, MAX_LAYERS = 4, 64
# an operator without weights to speak of, called often enough to hide what a graph's start takes
LIGHT_LAYERS, HEAD_LAYERS, SAVE_CALLS = 16, 2, 8
VOCAB_PADDING = 64


def start_operators(config: ExperimentConfig, params: EngineParams) -> "VllmOperators":
    """In a process that has not imported vLLM yet; see `engines.base.EnginePlugin.operators`."""
    prepare_process(config.hardware, params)
    return VllmOperators(read_model_dimensions(config.model), params, config.hardware.device)


def prepare_process(hardware: HardwarePreset, params: EngineParams) -> None:
    """Have vLLM's kernels in this process, which has not imported vLLM yet, as its engine had them.

    Raises `DeviceError` if vLLM is not there, `EngineError` if it does not fit,
    `ProfilingBundleError` if its kernels would be another machine's.
    """
    if hardware.omp_num_threads:
        os.environ["OMP_NUM_THREADS"] = str(hardware.omp_num_threads)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    try:
        limit_instruction_set(hardware.cpu_instruction_set)
        check_surface(hardware.device)
        custom_ops()
    except ImportError as error:
        raise DeviceError(
            f"torch or vLLM cannot be imported here ({error}): install the lock for this machine"
        ) from None
    if hardware.device == "cpu":
        _prepare_cpu(hardware, params)


def _prepare_cpu(hardware: HardwarePreset, params: EngineParams) -> None:
    if (library := native_library()) != params.native_library:
        raise ProfilingBundleError(
            f"the engine's bursts ran on vLLM's {params.native_library}, kernels would be timed on "
            f"{library}: measure both on one machine (`vidur-profile --force`)"
        )
    if hardware.omp_num_threads:
        import torch

        torch.set_num_threads(hardware.omp_num_threads)


def vocab_shard_size(dimensions: ModelDimensions, shards: int) -> int:
    """Rows of the embedding and of `lm_head` on one device: vLLM pads the vocabulary to 64."""
    return math.ceil(dimensions.vocab_size / VOCAB_PADDING) * VOCAB_PADDING // shards


class VllmOperators:
    """See `gpu_timing_assets.engines.base.ModelOperators`."""

    def __init__(self, dimensions: ModelDimensions, params: EngineParams, device: str) -> None:
        """Raises `ProfilingBundleError` for an attention backend whose calls are not known here."""
        import torch

        if params.attention_backend not in ATTENTION_CASES:
            raise ProfilingBundleError(
                f"the engine chose attention backend {params.attention_backend}, and only "
                f"{' and '.join(ATTENTION_CASES)} can be timed here: another kernel's times would "
                "be another engine's"
            )
        self._torch, self._ops = torch, custom_ops()
        self._device, self._dtype = torch.device(device), getattr(torch, params.dtype)
        self._attention_case = ATTENTION_CASES[params.attention_backend]
        shards = params.tensor_parallel_size
        self._heads = Heads(
            num_query=dimensions.num_attention_heads // shards,
            num_kv=max(1, dimensions.num_key_value_heads // shards),
            size=dimensions.head_dim,
            kv_block_size=params.kv_block_size,
        )
        self._hidden_size = dimensions.hidden_size
        self._intermediate_size = dimensions.intermediate_size // shards
        self._vocab_size = dimensions.vocab_size
        self._vocab_shard_size = vocab_shard_size(dimensions, shards)
        torch.manual_seed(0)

    def linears(self, token_counts: Sequence[int]) -> Iterator[tuple[int, Operator]]:
        hidden, intermediate, heads = self._hidden_size, self._intermediate_size, self._heads
        for name, in_features, out_features in (
            ("attn_pre_proj", hidden, heads.query_size + 2 * heads.kv_size),
            ("attn_post_proj", heads.query_size, hidden),
            ("mlp_up_proj", hidden, 2 * intermediate),
            ("mlp_down_proj", intermediate, hidden),
        ):
            num_layers = self._num_layers(out_features * in_features * self._dtype.itemsize)
            layers = [self._linear(out_features, in_features) for _ in range(num_layers)]
            for tokens in token_counts:
                call = partial(_call_layer, layers, self._random(tokens, in_features))
                yield tokens, Operator(name, call, num_layers)
            # alive, they take the memory that the next operators run in: `add` is 12 % slower
            del layers, call
        for name, make in (
            ("input_layernorm", self._rms_norm),
            ("post_attention_layernorm", self._rms_norm),
            ("add", self._add),
            ("add_rms_norm", self._add_rms_norm),
            ("qk_norm", self._qk_norm),
            ("attn_rope", self._rope),
            ("mlp_act", self._silu_and_mul),
            ("embedding", self._embedding),
        ):
            for tokens in token_counts:
                yield tokens, Operator(name, make(tokens), LIGHT_LAYERS)

    def head(self, request_counts: Sequence[int]) -> Iterator[tuple[int, Operator]]:
        """The sampler is greedy: a cast to float32 and argmax. With tensor parallelism each rank
        samples of the whole vocabulary.
        """
        lm_head = self._linear(self._vocab_shard_size, self._hidden_size)
        for count in request_counts:
            hidden = self._random(count, self._hidden_size)
            logits = self._random(count, self._vocab_size)
            yield count, Operator("lm_head", partial(_call_same, lm_head, hidden), HEAD_LAYERS)
            yield count, Operator("sampler", partial(_argmax, logits), HEAD_LAYERS)

    def kv_cache_save(self, tokens: int) -> Operator:
        case = self._case(Batch((tokens,), (0,)), 1)
        return Operator("attn_kv_cache_save", case.save, 1, SAVE_CALLS)

    def decode_attention(self, batch_size: int, context_tokens: int) -> Operator:
        batch = Batch((1,) * batch_size, (context_tokens - 1,) * batch_size)
        return self._attention("attn_decode", batch)

    def prefill_attention(self, chunk_tokens: int, context_tokens: int) -> Operator:
        return self._attention("attn_prefill", Batch((chunk_tokens,), (context_tokens,)))

    def _attention(self, name: str, batch: Batch) -> Operator:
        num_layers = self._num_layers(sum(batch.sequence_lengths) * self._heads.kv_size * 4)
        return Operator(name, self._case(batch, num_layers).attend, num_layers)

    def _case(self, batch: Batch, num_layers: int) -> AttentionCase:
        return self._attention_case(PagedBatch(self._heads, batch, self._random), num_layers)

    def _rms_norm(self, tokens: int) -> Callable[[int], Any]:
        x, weight = self._random(tokens, self._hidden_size), self._random(self._hidden_size)
        out = self._torch.empty_like(x)
        return lambda layer: self._ops.rms_norm(out, x, weight, 1e-6)

    def _add_rms_norm(self, tokens: int) -> Callable[[int], Any]:
        x, residual = (self._random(tokens, self._hidden_size) for _ in range(2))
        weight = self._random(self._hidden_size)
        return lambda layer: self._ops.fused_add_rms_norm(x, residual, weight, 1e-6)

    def _add(self, tokens: int) -> Callable[[int], Any]:
        x, residual = (self._random(tokens, self._hidden_size) for _ in range(2))
        return lambda layer: x + residual

    def _qk_norm(self, tokens: int) -> Callable[[int], Any]:
        heads = self._heads
        q = self._random(tokens * heads.num_query, heads.size)
        k = self._random(tokens * heads.num_kv, heads.size)
        weight = self._random(heads.size)
        q_out, k_out = self._torch.empty_like(q), self._torch.empty_like(k)

        def normalise(layer: int) -> None:
            self._ops.rms_norm(q_out, q, weight, 1e-6)
            self._ops.rms_norm(k_out, k, weight, 1e-6)

        return normalise

    def _rope(self, tokens: int) -> Callable[[int], Any]:
        heads = self._heads
        q, k = self._random(tokens, heads.query_size), self._random(tokens, heads.kv_size)
        positions = self._torch.arange(tokens, device=self._device)
        table = self._random(max(tokens, 4096), heads.size)
        return lambda layer: self._ops.rotary_embedding(positions, q, k, heads.size, table, True)

    def _silu_and_mul(self, tokens: int) -> Callable[[int], Any]:
        x = self._random(tokens, 2 * self._intermediate_size)
        out = self._torch.empty(
            tokens, self._intermediate_size, dtype=self._dtype, device=self._device
        )
        return lambda layer: self._torch.ops._C.silu_and_mul(out, x)

    def _embedding(self, tokens: int) -> Callable[[int], Any]:
        weight = self._random(self._vocab_shard_size, self._hidden_size)
        ids = self._torch.randint(0, self._vocab_shard_size, (tokens,), device=self._device)
        return lambda layer: self._torch.nn.functional.embedding(ids, weight)

    def _linear(self, out_features: int, in_features: int) -> Callable[[Any], Any]:
        """Through the GEMM that vLLM chooses: cuBLAS on a GPU, packed weights on a CPU."""
        weight = self._random(out_features, in_features)
        if self._device.type == "cpu":
            return cpu_linear(weight)
        return lambda x: self._torch.nn.functional.linear(x, weight)

    def _num_layers(self, size_bytes: int) -> int:
        """As many as do not fit into the L2 cache together."""
        if self._device.type == "cpu":
            return MIN_LAYERS
        return min(MAX_LAYERS, max(MIN_LAYERS, math.ceil(DISTINCT_BYTES / size_bytes)))

    def _random(self, *shape: int) -> Any:
        return self._torch.randn(*shape, dtype=self._dtype, device=self._device) * 0.1


def _call_layer(layers: Sequence[Callable[[Any], Any]], x: Any, layer: int) -> Any:
    return layers[layer](x)


def _call_same(linear: Callable[[Any], Any], x: Any, layer: int) -> Any:
    return linear(x)


def _argmax(logits: Any, layer: int) -> Any:
    return logits.float().argmax(dim=-1)

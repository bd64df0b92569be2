"""GPU (or CPU) time of a step's kernels, from the bundle's tables."""

from typing import Protocol

import pandas as pd

from gpu_timing_assets.engine_loop.collectives import Collectives
from gpu_timing_assets.engine_loop.interpolation import Curve, Surface

# of each layer, as vLLM runs it: norms fused with the residual's addition, Qwen3's QK-norm
LAYER_OPERATORS = {
    "attn_pre_proj": 1,
    "qk_norm": 1,
    "attn_rope": 1,
    "attn_post_proj": 1,
    "add_rms_norm": 2,
    "mlp_up_proj": 1,
    "mlp_act": 1,
    "mlp_down_proj": 1,
}


class StepContent(Protocol):
    """What decides the kernels of one step.

    `prefill_attention_pairs` is the number of (query, key) pairs of its prompt tokens: chunk ×
    context + chunk (chunk + 1) / 2, summed over requests. `decode_kv_tokens` is the context of its
    decoding requests, summed. `num_outputs` is the number of requests whose next token is sampled.
    """

    num_prefill_tokens: int
    num_prefill_requests: int
    prefill_attention_pairs: int
    num_decode_requests: int
    decode_kv_tokens: int
    num_outputs: int
    padded_tokens: int


class KernelTimes:
    """The kernels of one model on one device of those that share it, all layers together, in ms.

    From a bundle's tables; `all_reduce` is None of a model on one device. `decode_attention`
    (requests, context of each) and `prefill_attention` (context, chunk) are one layer's.
    """

    def __init__(
        self,
        mlp: pd.DataFrame,
        attention: pd.DataFrame,
        head: pd.DataFrame,
        num_layers: int,
        all_reduce: pd.DataFrame | None = None,
    ) -> None:
        self._num_layers = num_layers
        self.collectives = None if all_reduce is None else Collectives(all_reduce, head, num_layers)
        self._linear_curves = {
            operator: Curve.of(mlp["num_tokens"], mlp[_median(operator)])
            for operator in (*LAYER_OPERATORS, "embedding")
        }
        save_tokens = attention[["batch_size", "prefill_chunk_size"]].max(axis=1)
        save_ms = attention[_median("attn_kv_cache_save")].groupby(save_tokens).mean()
        self._save = Curve.of(save_ms.index.to_series(), save_ms)
        self._lm_head = Curve.of(head["num_requests"], head[_median("lm_head")])
        self._sampler = Curve.of(head["num_requests"], head[_median("sampler")])
        decode = attention[attention["prefill_chunk_size"] == 0]
        prefill = attention[attention["prefill_chunk_size"] > 0]
        counts = "batch_size", "kv_cache_size", "prefill_chunk_size"
        self.decode_attention = Surface.of(decode, *counts[:2], _median("attn_decode"))
        self.prefill_attention = Surface.of(prefill, *counts[1:], _median("attn_prefill"))
        self._least_prefill_ms = float(prefill[_median("attn_prefill")].min())
        self._dense_cache: dict[int, float] = {}
        self._head_cache: dict[int, float] = {}

    def step_ms(self, step: StepContent) -> float:
        """Sum of the kernels of a step, in ms."""
        total = self.dense_ms(step.padded_tokens) + self.head_ms(step.num_outputs)
        total += self.decode_attention_ms(step.num_decode_requests, step.decode_kv_tokens)
        total += self.prefill_attention_ms(
            step.num_prefill_tokens, step.num_prefill_requests, step.prefill_attention_pairs
        )
        return total

    def operator_curve(self, operator: str) -> Curve:
        """One call of a linear operator, by tokens."""
        return self._linear_curves[operator]

    def dense_ms(self, tokens: int) -> float:
        """Embedding, linears, norms, activation, rotary embedding, writing of the KV cache,
        all-reduces.
        """
        if tokens not in self._dense_cache:
            layer = sum(
                count * self._linear_curves[operator](tokens)
                for operator, count in LAYER_OPERATORS.items()
            )
            dense = (layer + self._save(tokens)) * self._num_layers
            dense += self._linear_curves["embedding"](tokens)
            if self.collectives:
                dense += self.collectives.all_reduces_ms(tokens)
            self._dense_cache[tokens] = dense
        return self._dense_cache[tokens]

    def head_ms(self, num_outputs: int) -> float:
        if num_outputs == 0:
            return 0.0
        if num_outputs not in self._head_cache:
            head = self._lm_head(num_outputs) + self._sampler(num_outputs)
            if self.collectives:
                head += self.collectives.logits_gather_ms(num_outputs)
            self._head_cache[num_outputs] = head
        return self._head_cache[num_outputs]

    def decode_attention_ms(self, num_requests: int, kv_tokens: int) -> float:
        if num_requests == 0:
            return 0.0
        return self.decode_attention(num_requests, kv_tokens / num_requests) * self._num_layers

    def prefill_attention_ms(self, tokens: int, num_requests: int, pairs: int) -> float:
        """Of `num_requests` chunks of `tokens` together, each taken as their mean.

        The engine attends to all of them in one kernel (FlashAttention's variable-length call), so
        what even the smallest chunk takes is spent once.
        """
        if tokens == 0:
            return 0.0
        chunk = tokens / num_requests
        context = max(0.0, pairs / tokens - (chunk + 1) / 2)
        one_ms = self.prefill_attention(context, chunk)
        further_ms = max(0.0, one_ms - self._least_prefill_ms)
        return (one_ms + (num_requests - 1) * further_ms) * self._num_layers


def _median(operator: str) -> str:
    return f"time_stats.{operator}.median"

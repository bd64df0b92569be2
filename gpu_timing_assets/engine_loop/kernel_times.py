"""GPU (or CPU) time of a step's kernels, from the bundle's tables.

Interpolation is linear in the counts themselves, never in their logarithms, which overestimates
attention by 12 to 14 % between grid points. Beyond the last point of a grid the last segment's
slope goes on.
"""

from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gpu_timing_assets.core.bundle import compute_dir
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.tables.schemas import ATTENTION, HEAD, MLP

# what vLLM runs in each layer: both norms fused with the residual's addition, and Qwen3's norm of
# queries and keys
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


@dataclass(frozen=True)
class Curve:
    """A piecewise linear function through measured points, extended by its last segment, or flat if
    not `extend`.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    extend: bool = True

    def __call__(self, x: float) -> float:
        if len(self.x) == 1:
            return self.y[0]
        if not self.extend:
            x = min(x, self.x[-1])
        right = min(max(bisect_right(self.x, x), 1), len(self.x) - 1)
        x0, x1, y0, y1 = self.x[right - 1], self.x[right], self.y[right - 1], self.y[right]
        return y0 + (y1 - y0) * (max(x, self.x[0]) - x0) / (x1 - x0)

    @classmethod
    def of(
        cls, x: "pd.Series | np.ndarray", y: "pd.Series | np.ndarray", *, extend: bool = True
    ) -> "Curve":
        order = np.argsort(np.asarray(x))
        return cls(
            tuple(np.asarray(x, dtype=float)[order].tolist()),
            tuple(np.asarray(y, dtype=float)[order].tolist()),
            extend,
        )


@dataclass(frozen=True)
class Surface:
    """A function of two counts: a curve over the second for each measured value of the first,
    linear in between.
    """

    x: tuple[float, ...]
    curves: tuple[Curve, ...]

    def __call__(self, x: float, y: float) -> float:
        if len(self.x) == 1:
            return self.curves[0](y)
        right = min(max(bisect_right(self.x, x), 1), len(self.x) - 1)
        x0, x1 = self.x[right - 1], self.x[right]
        share = (max(x, self.x[0]) - x0) / (x1 - x0)
        return self.curves[right - 1](y) * (1 - share) + self.curves[right](y) * share

    @classmethod
    def of(
        cls, frame: pd.DataFrame, x: str, y: str, value: str, *, extend: bool = True
    ) -> "Surface":
        groups = [
            (key, Curve.of(group[y], group[value], extend=extend))
            for key, group in frame.groupby(x)
        ]
        return cls(tuple(float(key) for key, _ in groups), tuple(curve for _, curve in groups))


@dataclass(frozen=True)
class StepShape:
    """What decides the kernels of one step.

    `prefill_pairs` is the number of (query, key) pairs of its prompt tokens: chunk × context +
    chunk (chunk + 1) / 2, summed over requests. `decode_kv_tokens` is the context of its decoding
    requests, summed. `num_outputs` is the number of requests whose next token is sampled.
    """

    num_prefill_tokens: int
    num_prefill_requests: int
    prefill_pairs: int
    num_decode_requests: int
    decode_kv_tokens: int
    num_outputs: int
    padded_tokens: int


class KernelTimes:
    """The kernels of one model on one device, all layers together, in ms."""

    def __init__(
        self, mlp: pd.DataFrame, attention: pd.DataFrame, head: pd.DataFrame, num_layers: int
    ) -> None:
        self._num_layers = num_layers
        self._linear_curves = {
            operator: Curve.of(mlp["num_tokens"], mlp[_median(operator)])
            for operator in (*LAYER_OPERATORS, "embedding")
        }
        self._save = Curve.of(
            *_unique(
                attention.assign(
                    tokens=attention[["batch_size", "prefill_chunk_size"]].max(axis=1)
                ),
                "tokens",
                _median("attn_kv_cache_save"),
            )
        )
        self._lm_head = Curve.of(head["num_requests"], head[_median("lm_head")])
        self._sampler = Curve.of(head["num_requests"], head[_median("sampler")])
        decode = attention[attention["prefill_chunk_size"] == 0]
        prefill = attention[attention["prefill_chunk_size"] > 0]
        self._decode_attention = Surface.of(
            decode, "batch_size", "kv_cache_size", _median("attn_decode")
        )
        self._prefill_attention = Surface.of(
            prefill, "kv_cache_size", "prefill_chunk_size", _median("attn_prefill")
        )
        self._dense_cache: dict[int, float] = {}
        self._head_cache: dict[int, float] = {}

    @classmethod
    def from_bundle(
        cls, root: Path, hardware: str, params: EngineParams, model: str
    ) -> "KernelTimes":
        kernels = compute_dir(root, hardware, model)
        return cls(
            MLP.read(kernels),
            ATTENTION.read(kernels),
            HEAD.read(root),
            params.model_dimensions.num_hidden_layers,
        )

    def operator_curve(self, operator: str) -> Curve:
        """Of an operator of a layer, by number of tokens."""
        return self._linear_curves[operator]

    @property
    def decode_attention(self) -> Surface:
        """Of one layer, by number of requests and KV tokens of each."""
        return self._decode_attention

    @property
    def prefill_attention(self) -> Surface:
        """Of one layer, by KV tokens before the chunk and tokens of the chunk."""
        return self._prefill_attention

    def step_ms(self, shape: StepShape) -> float:
        """Sum of the kernels of a step, in ms."""
        total = self.dense_ms(shape.padded_tokens) + self.head_ms(shape.num_outputs)
        total += self.decode_attention_ms(shape.num_decode_requests, shape.decode_kv_tokens)
        total += self.prefill_attention_ms(
            shape.num_prefill_tokens, shape.num_prefill_requests, shape.prefill_pairs
        )
        return total

    def dense_ms(self, tokens: int) -> float:
        """Embedding, linears, norms, activation, rotary embedding and the writing of the KV
        cache.
        """
        if tokens not in self._dense_cache:
            layer = sum(
                count * self._linear_curves[operator](tokens)
                for operator, count in LAYER_OPERATORS.items()
            )
            self._dense_cache[tokens] = (
                layer + self._save(tokens)
            ) * self._num_layers + self._linear_curves["embedding"](tokens)
        return self._dense_cache[tokens]

    def head_ms(self, num_outputs: int) -> float:
        if num_outputs == 0:
            return 0.0
        if num_outputs not in self._head_cache:
            self._head_cache[num_outputs] = self._lm_head(num_outputs) + self._sampler(num_outputs)
        return self._head_cache[num_outputs]

    def decode_attention_ms(self, num_requests: int, kv_tokens: int) -> float:
        if num_requests == 0:
            return 0.0
        return self._decode_attention(num_requests, kv_tokens / num_requests) * self._num_layers

    def prefill_attention_ms(self, tokens: int, num_requests: int, pairs: int) -> float:
        """Of `num_requests` chunks that are `tokens` long together, each taken as the mean of
        them.
        """
        if tokens == 0:
            return 0.0
        chunk = tokens / num_requests
        context = max(0.0, pairs / tokens - (chunk + 1) / 2)
        return self._prefill_attention(context, chunk) * num_requests * self._num_layers


def _median(operator: str) -> str:
    return f"time_stats.{operator}.median"


def _unique(frame: pd.DataFrame, key: str, value: str) -> tuple[pd.Series, pd.Series]:
    means = frame.groupby(key)[value].mean()
    return means.index.to_series(), means

"""The operators of a dense Qwen3 as vLLM runs them, each callable on its own, and how long each
takes.

On a GPU an operator is captured into a CUDA graph that calls it once for each of several layers
with weights (or KV caches) of their own, so that nothing stays in the L2 cache between calls; the
graph's replay time over the number of layers is the operator's time, launch gaps inside a graph
included. On a CPU the calls are timed one by one.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gpu_timing_assets.core.engine_params import ModelDimensions
from gpu_timing_assets.core.errors import ProfilingBundleError
from gpu_timing_assets.engines.vllm import surface as vllm_surface

# larger than the L2 cache of an H100 (50 MB) and an A100 (40 MB), so that a second layer evicts the
# first
DISTINCT_BYTES = 160 * 2**20
MIN_COPIES, MAX_COPIES = 4, 64


@dataclass(frozen=True)
class KernelTime:
    """The median, extremes, mean and spread of one operator's times, in ms."""

    operator: str
    min: float
    max: float
    mean: float
    median: float
    std: float


class KernelBench:
    """Times the operators of one model on one device. All tensors are random, in the model's
    dtype.
    """

    def __init__(
        self,
        dimensions: ModelDimensions,
        dtype: str,
        device: str,
        kv_block_size: int,
        attention_backend: str,
        tensor_parallel_size: int,
        repeats: int,
        warmup_repeats: int,
    ) -> None:
        import torch

        self._torch = torch
        self._device, self._dtype = torch.device(device), getattr(torch, dtype)
        self._block_size = kv_block_size
        self._attention = {"FLASH_ATTN": _FlashAttention, "CPU_ATTN": _CpuAttention}.get(
            attention_backend
        )
        if self._attention is None:
            raise ProfilingBundleError(
                f"the engine chose attention backend {attention_backend}, and only FLASH_ATTN and "
                f"CPU_ATTN can be timed here: "
                "another kernel's times would be another engine's"
            )
        self._repeats, self._warmup_repeats = repeats, warmup_repeats
        self.d = dimensions
        self._q_heads = dimensions.num_attention_heads // tensor_parallel_size
        self._kv_heads = max(1, dimensions.num_key_value_heads // tensor_parallel_size)
        self._q_size, self._kv_size = (
            self._q_heads * dimensions.head_dim,
            self._kv_heads * dimensions.head_dim,
        )
        self._intermediate = dimensions.intermediate_size // tensor_parallel_size
        self._vocab = dimensions.vocab_size // tensor_parallel_size
        self._scale = dimensions.head_dim**-0.5
        torch.manual_seed(0)
        self._ops = vllm_surface.custom_ops()

    def linears(self, token_counts: Sequence[int]) -> Iterator[tuple[int, KernelTime]]:
        """Every operator of a layer that depends on the number of tokens alone, and the
        embedding.
        """
        for name, in_features, out_features in (
            ("attn_pre_proj", self.d.hidden_size, self._q_size + 2 * self._kv_size),
            ("attn_post_proj", self._q_size, self.d.hidden_size),
            ("mlp_up_proj", self.d.hidden_size, 2 * self._intermediate),
            ("mlp_down_proj", self._intermediate, self.d.hidden_size),
        ):
            weights = self._copies((out_features, in_features))
            for tokens in token_counts:
                x = self._random(tokens, in_features)
                yield tokens, self._time(name, partial(_call_copy, weights, x), len(weights))
            del weights
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
                yield tokens, self._time(name, make(tokens), 16)

    def head(self, request_counts: Sequence[int]) -> Iterator[tuple[int, KernelTime]]:
        """`lm_head` and `sampler` (greedy: cast to float32 and argmax), once a step, by the number
        of requests.
        """
        lm_head = self._linear(self._vocab, self.d.hidden_size)
        for count in request_counts:
            x, logits = self._random(count, self.d.hidden_size), self._random(count, self._vocab)
            yield count, self._time("lm_head", partial(_call, lm_head, x), 2)
            yield count, self._time("sampler", partial(_argmax, logits), 2)

    def kv_cache_saves(self, token_counts: Sequence[int]) -> Iterator[tuple[int, KernelTime]]:
        for tokens in token_counts:
            yield (
                tokens,
                self._time(
                    "attn_kv_cache_save",
                    self._attention_case(tokens, [tokens], [0], 1).save,
                    1,
                    inner=8,
                ),
            )

    def decode_attention(self, batch_size: int, context_tokens: int) -> KernelTime:
        """One query token for each of `batch_size` requests with `context_tokens` of context."""
        case = self._attention_case(
            batch_size,
            [1] * batch_size,
            [context_tokens - 1] * batch_size,
            self._distinct(batch_size * context_tokens * self._kv_size * 4),
        )
        return self._time("attn_decode", case.attend, case.copies)

    def prefill_attention(self, chunk_tokens: int, context_tokens: int) -> KernelTime:
        """A chunk of `chunk_tokens` of one request of which `context_tokens` are computed."""
        case = self._attention_case(
            chunk_tokens,
            [chunk_tokens],
            [context_tokens],
            self._distinct((chunk_tokens + context_tokens) * self._kv_size * 4),
        )
        return self._time("attn_prefill", case.attend, case.copies)

    def _rms_norm(self, tokens: int) -> Callable[[int], Any]:
        x, weight = self._random(tokens, self.d.hidden_size), self._random(self.d.hidden_size)
        out = self._torch.empty_like(x)
        return lambda i: self._ops.rms_norm(out, x, weight, 1e-6)

    def _add_rms_norm(self, tokens: int) -> Callable[[int], Any]:
        x, residual = (
            self._random(tokens, self.d.hidden_size),
            self._random(tokens, self.d.hidden_size),
        )
        weight = self._random(self.d.hidden_size)
        return lambda i: self._ops.fused_add_rms_norm(x, residual, weight, 1e-6)

    def _add(self, tokens: int) -> Callable[[int], Any]:
        x, residual = (
            self._random(tokens, self.d.hidden_size),
            self._random(tokens, self.d.hidden_size),
        )
        return lambda i: x + residual

    def _qk_norm(self, tokens: int) -> Callable[[int], Any]:
        q, k = (
            self._random(tokens * self._q_heads, self.d.head_dim),
            self._random(tokens * self._kv_heads, self.d.head_dim),
        )
        weight = self._random(self.d.head_dim)
        q_out, k_out = self._torch.empty_like(q), self._torch.empty_like(k)

        def both(i: int) -> None:
            self._ops.rms_norm(q_out, q, weight, 1e-6)
            self._ops.rms_norm(k_out, k, weight, 1e-6)

        return both

    def _rope(self, tokens: int) -> Callable[[int], Any]:
        q, k = self._random(tokens, self._q_size), self._random(tokens, self._kv_size)
        positions = self._torch.arange(tokens, device=self._device)
        table = self._random(max(tokens, 4096), self.d.head_dim)
        return lambda i: self._ops.rotary_embedding(positions, q, k, self.d.head_dim, table, True)

    def _silu_and_mul(self, tokens: int) -> Callable[[int], Any]:
        x = self._random(tokens, 2 * self._intermediate)
        out = self._torch.empty(tokens, self._intermediate, dtype=self._dtype, device=self._device)
        return lambda i: self._torch.ops._C.silu_and_mul(out, x)

    def _embedding(self, tokens: int) -> Callable[[int], Any]:
        weight = self._random(self._vocab, self.d.hidden_size)
        ids = self._torch.randint(0, self._vocab, (tokens,), device=self._device)
        return lambda i: self._torch.nn.functional.embedding(ids, weight)

    def _attention_case(
        self, tokens: int, query_lens: list[int], context_lens: list[int], copies: int
    ) -> "_AttentionCase":
        assert self._attention is not None
        return self._attention(self, tokens, query_lens, context_lens, copies)

    def _copies(self, shape: tuple[int, int]) -> list[Callable[[Any], Any]]:
        return [
            self._linear(*shape)
            for _ in range(self._distinct(shape[0] * shape[1] * self._dtype.itemsize))
        ]

    def _linear(self, out_features: int, in_features: int) -> Callable[[Any], Any]:
        """A linear layer through the GEMM that vLLM chooses: cuBLAS on a GPU, packed weights on a
        CPU.
        """
        weight = self._random(out_features, in_features)
        if self._device.type != "cpu":
            return lambda x: self._torch.nn.functional.linear(x, weight)
        return vllm_surface.cpu_linear(weight)

    def _distinct(self, size_bytes: int) -> int:
        return (
            min(MAX_COPIES, max(MIN_COPIES, math.ceil(DISTINCT_BYTES / size_bytes)))
            if self._device.type != "cpu"
            else MIN_COPIES
        )

    def _random(self, *shape: int) -> Any:
        return self._torch.randn(*shape, dtype=self._dtype, device=self._device) * 0.1

    def _time(
        self, operator: str, body: Callable[[int], Any], copies: int, inner: int = 1
    ) -> KernelTime:
        with self._torch.inference_mode():
            measure = self._time_calls if self._device.type == "cpu" else self._time_graph
            times = measure(body, copies, inner)
        return KernelTime(
            operator,
            float(times.min()),
            float(times.max()),
            float(times.mean()),
            float(np.median(times)),
            float(times.std()),
        )

    def _time_graph(self, body: Callable[[int], Any], copies: int, inner: int) -> np.ndarray:
        cuda = self._torch.cuda
        stream = cuda.Stream()
        with cuda.stream(stream):
            for i in range(copies):
                body(i)
        cuda.synchronize()
        graph = cuda.CUDAGraph()
        with cuda.graph(graph, stream=stream):
            for _ in range(inner):
                for i in range(copies):
                    body(i)
        pairs = [
            (cuda.Event(enable_timing=True), cuda.Event(enable_timing=True))
            for _ in range(self._warmup_repeats + self._repeats)
        ]
        for begin, end in pairs:
            begin.record()
            graph.replay()
            end.record()
        cuda.synchronize()
        return np.array(
            [begin.elapsed_time(end) for begin, end in pairs[self._warmup_repeats :]]
        ) / (copies * inner)

    def _time_calls(self, body: Callable[[int], Any], copies: int, inner: int) -> np.ndarray:
        for i in range(self._warmup_repeats):
            body(i % copies)
        times = []
        for repeat in range(self._repeats):
            begin = time.perf_counter_ns()
            for _ in range(inner):
                body(repeat % copies)
            times.append((time.perf_counter_ns() - begin) / 1e6 / inner)
        return np.array(times)


def _call_copy(layers: Sequence[Callable[[Any], Any]], x: Any, i: int) -> Any:
    return layers[i](x)


def _call(layer: Callable[[Any], Any], x: Any, i: int) -> Any:
    return layer(x)


def _argmax(logits: Any, i: int) -> Any:
    return logits.float().argmax(dim=-1)


class _AttentionCase:
    """One batch over paged KV caches of `copies` layers. `attend(i)` and `save(i)` run on layer
    `i`'s cache.
    """

    copies: int
    attend: Callable[[int], Any]
    save: Callable[[int], Any]

    def __init__(
        self,
        bench: KernelBench,
        tokens: int,
        query_lens: list[int],
        context_lens: list[int],
        copies: int,
    ) -> None:
        torch, device = bench._torch, bench._device
        self.copies = copies
        seq_lens = [q + c for q, c in zip(query_lens, context_lens, strict=True)]
        self._max_blocks = max(math.ceil(length / bench._block_size) for length in seq_lens)
        num_blocks = len(seq_lens) * self._max_blocks
        # a real cache is scattered: blocks in random order
        table = (
            np.random.default_rng(0)
            .permutation(num_blocks)
            .astype(np.int32)
            .reshape(len(seq_lens), self._max_blocks)
        )
        self._table = torch.from_numpy(table).to(device)
        self._num_blocks = num_blocks
        self._seq_lens = torch.tensor(seq_lens, dtype=torch.int32, device=device)
        self._query_start = torch.tensor(
            np.cumsum([0, *query_lens]), dtype=torch.int32, device=device
        )
        self._max_query, self._max_seq = max(query_lens), max(seq_lens)
        self._query = bench._random(tokens, bench._q_heads, bench.d.head_dim)
        self._key, self._value = (
            bench._random(tokens, bench._kv_heads, bench.d.head_dim) for _ in range(2)
        )
        self._out = torch.empty_like(self._query)
        request = np.repeat(np.arange(len(query_lens)), query_lens)
        position = np.concatenate(
            [np.arange(c, c + q) for q, c in zip(query_lens, context_lens, strict=True)]
        )
        slots = (
            table[request, position // bench._block_size].astype(np.int64) * bench._block_size
            + position % bench._block_size
        )
        self._slots = torch.from_numpy(slots).to(device)


class _FlashAttention(_AttentionCase):
    """vLLM's FlashAttention over a paged cache, as its FLASH_ATTN backend calls it."""

    def __init__(
        self,
        bench: KernelBench,
        tokens: int,
        query_lens: list[int],
        context_lens: list[int],
        copies: int,
    ) -> None:
        super().__init__(bench, tokens, query_lens, context_lens, copies)
        torch = bench._torch
        attend, version = vllm_surface.flash_attention()
        caches = [
            bench._random(2, self._num_blocks, bench._block_size, bench._kv_heads, bench.d.head_dim)
            for _ in range(copies)
        ]
        scale = torch.ones(1, dtype=torch.float32, device=bench._device)
        self.save = lambda i: bench._ops.reshape_and_cache_flash(
            self._key, self._value, caches[i][0], caches[i][1], self._slots, "auto", scale, scale
        )
        self.attend = lambda i: attend(
            q=self._query,
            k=caches[i][0],
            v=caches[i][1],
            out=self._out,
            cu_seqlens_q=self._query_start,
            max_seqlen_q=self._max_query,
            seqused_k=self._seq_lens,
            max_seqlen_k=self._max_seq,
            softmax_scale=bench._scale,
            causal=True,
            block_table=self._table,
            fa_version=version,
        )


class _CpuAttention(_AttentionCase):
    """vLLM's own CPU attention over a paged cache, as its CPU_ATTN backend calls it (vLLM 0.32)."""

    def __init__(
        self,
        bench: KernelBench,
        tokens: int,
        query_lens: list[int],
        context_lens: list[int],
        copies: int,
    ) -> None:
        super().__init__(bench, tokens, query_lens, context_lens, copies)
        ops, head_dim = bench._ops, bench.d.head_dim
        isa = vllm_surface.cpu_attention_instructions(bench._dtype, bench._block_size, head_dim)
        caches = [
            [
                bench._random(self._num_blocks, bench._kv_heads, bench._block_size, head_dim)
                for _ in range(2)
            ]
            for _ in range(copies)
        ]
        metadata = ops.cpu_attn_get_scheduler_metadata(
            num_reqs=len(query_lens),
            num_heads=bench._q_heads,
            num_kv_heads=bench._kv_heads,
            head_dim=head_dim,
            seq_lens=self._seq_lens,
            dtype=bench._dtype,
            query_start_loc=self._query_start,
            causal=True,
            sliding_window_size=-1,
            isa=isa,
            enable_kv_split=True,
        )
        self.save = lambda i: ops.cpu_attn_reshape_and_cache(
            self._key, self._value, caches[i][0], caches[i][1], self._slots, isa
        )
        self.attend = lambda i: ops.cpu_attention_with_kv_cache(
            query=self._query,
            key_cache=caches[i][0],
            value_cache=caches[i][1],
            output=self._out,
            query_start_loc=self._query_start,
            seq_lens=self._seq_lens,
            scale=bench._scale,
            causal=True,
            alibi_slopes=None,
            sliding_window=-1,
            block_table=self._table,
            softcap=0.0,
            scheduler_metadata=metadata,
            s_aux=None,
        )

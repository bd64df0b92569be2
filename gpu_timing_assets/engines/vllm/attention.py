"""Attention over a paged KV cache as vLLM's backends call it, one batch at a time."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpu_timing_assets.engines.vllm.surface import (
    cpu_attention_instructions,
    custom_ops,
    flash_attention,
)


@dataclass(frozen=True)
class Heads:
    """The attention heads of one device, and the size of the blocks that the KV cache is paged
    in.
    """

    num_query: int
    num_kv: int
    size: int
    kv_block_size: int

    @property
    def query_size(self) -> int:
        return self.num_query * self.size

    @property
    def kv_size(self) -> int:
        return self.num_kv * self.size

    @property
    def scale(self) -> float:
        return float(self.size**-0.5)


@dataclass(frozen=True)
class Batch:
    """Of each request the tokens that are computed, and those that were before."""

    query_lengths: tuple[int, ...]
    context_lengths: tuple[int, ...]

    @property
    def sequence_lengths(self) -> tuple[int, ...]:
        pairs = zip(self.query_lengths, self.context_lengths, strict=True)
        return tuple(query + context for query, context in pairs)


class AttentionCase:
    """One batch over the KV caches of several layers. `attend(layer)` and `save(layer)` run on the
    layer's cache.

    `random(*shape)` makes a tensor on the device in the model's data type.
    """

    attend: Callable[[int], Any]
    save: Callable[[int], Any]

    def __init__(
        self, heads: Heads, batch: Batch, num_layers: int, random: Callable[..., Any]
    ) -> None:
        import torch

        tokens, lengths = sum(batch.query_lengths), batch.sequence_lengths
        self.query = random(tokens, heads.num_query, heads.size)
        self.key, self.value = (random(tokens, heads.num_kv, heads.size) for _ in range(2))
        self.out = torch.empty_like(self.query)
        device = self.query.device
        blocks_each = max(math.ceil(length / heads.kv_block_size) for length in lengths)
        self.num_blocks = len(lengths) * blocks_each
        # a real cache is scattered: blocks in random order
        shuffled = np.random.default_rng(0).permutation(self.num_blocks).astype(np.int32)
        table = shuffled.reshape(len(lengths), blocks_each)
        self.block_table = torch.from_numpy(table).to(device)
        self.sequence_lengths = torch.tensor(lengths, dtype=torch.int32, device=device)
        self.query_start = torch.tensor(
            np.cumsum([0, *batch.query_lengths]), dtype=torch.int32, device=device
        )
        self.slots = torch.from_numpy(_slots(table, batch, heads.kv_block_size)).to(device)


def _slots(block_table: np.ndarray, batch: Batch, block_size: int) -> np.ndarray:
    """Where in the cache each new token's key and value go; shape (tokens,)."""
    pairs = zip(batch.query_lengths, batch.context_lengths, strict=True)
    position = np.concatenate([np.arange(context, context + query) for query, context in pairs])
    request = np.repeat(np.arange(len(batch.query_lengths)), batch.query_lengths)
    block = block_table[request, position // block_size].astype(np.int64)
    return block * block_size + position % block_size


class FlashAttentionCase(AttentionCase):
    """vLLM's FlashAttention, as its FLASH_ATTN backend calls it."""

    def __init__(
        self, heads: Heads, batch: Batch, num_layers: int, random: Callable[..., Any]
    ) -> None:
        import torch

        super().__init__(heads, batch, num_layers, random)
        ops, (attend, version) = custom_ops(), flash_attention()
        shape = (2, self.num_blocks, heads.kv_block_size, heads.num_kv, heads.size)
        caches = [random(*shape) for _ in range(num_layers)]
        scale = torch.ones(1, dtype=torch.float32, device=self.query.device)
        longest_query, longest = max(batch.query_lengths), max(batch.sequence_lengths)
        self.save = lambda layer: ops.reshape_and_cache_flash(
            self.key,
            self.value,
            caches[layer][0],
            caches[layer][1],
            self.slots,
            "auto",
            scale,
            scale,
        )
        self.attend = lambda layer: attend(
            q=self.query,
            k=caches[layer][0],
            v=caches[layer][1],
            out=self.out,
            cu_seqlens_q=self.query_start,
            max_seqlen_q=longest_query,
            seqused_k=self.sequence_lengths,
            max_seqlen_k=longest,
            softmax_scale=heads.scale,
            causal=True,
            block_table=self.block_table,
            fa_version=version,
        )


class CpuAttentionCase(AttentionCase):
    """vLLM's own CPU attention, as its CPU_ATTN backend calls it (vLLM 0.32)."""

    def __init__(
        self, heads: Heads, batch: Batch, num_layers: int, random: Callable[..., Any]
    ) -> None:
        super().__init__(heads, batch, num_layers, random)
        ops, dtype = custom_ops(), self.query.dtype
        isa = cpu_attention_instructions(dtype, heads.kv_block_size, heads.size)
        shape = (self.num_blocks, heads.num_kv, heads.kv_block_size, heads.size)
        caches = [[random(*shape) for _ in range(2)] for _ in range(num_layers)]
        metadata = ops.cpu_attn_get_scheduler_metadata(
            num_reqs=len(batch.query_lengths),
            num_heads=heads.num_query,
            num_kv_heads=heads.num_kv,
            head_dim=heads.size,
            seq_lens=self.sequence_lengths,
            dtype=dtype,
            query_start_loc=self.query_start,
            causal=True,
            sliding_window_size=-1,
            isa=isa,
            enable_kv_split=True,
        )
        self.save = lambda layer: ops.cpu_attn_reshape_and_cache(
            self.key, self.value, caches[layer][0], caches[layer][1], self.slots, isa
        )
        self.attend = lambda layer: ops.cpu_attention_with_kv_cache(
            query=self.query,
            key_cache=caches[layer][0],
            value_cache=caches[layer][1],
            output=self.out,
            query_start_loc=self.query_start,
            seq_lens=self.sequence_lengths,
            scale=heads.scale,
            causal=True,
            alibi_slopes=None,
            sliding_window=-1,
            block_table=self.block_table,
            softcap=0.0,
            scheduler_metadata=metadata,
            s_aux=None,
        )


ATTENTION_CASES: Mapping[str, type[AttentionCase]] = {
    "FLASH_ATTN": FlashAttentionCase,
    "CPU_ATTN": CpuAttentionCase,
}

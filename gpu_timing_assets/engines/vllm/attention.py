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
    """The attention heads of one device, and the block size of its paged KV cache."""

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


@dataclass(frozen=True)
class AttentionCase:
    """`attend(layer)` and `save(layer)` of one batch, on the KV cache of one of several layers."""

    attend: Callable[[int], Any]
    save: Callable[[int], Any]


class PagedBatch:
    """The tensors of one batch over a paged KV cache.

    `random(*shape)` makes a tensor on the device in the model's data type.
    """

    def __init__(self, heads: Heads, batch: Batch, random: Callable[..., Any]) -> None:
        import torch

        self.heads, self.batch, self.random = heads, batch, random
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
        query_start = np.cumsum([0, *batch.query_lengths])
        self.query_start = torch.tensor(query_start, dtype=torch.int32, device=device)
        self.slots = torch.from_numpy(_slots(table, batch, heads.kv_block_size)).to(device)


def _slots(block_table: np.ndarray, batch: Batch, block_size: int) -> np.ndarray:
    """Where in the cache each new token's key and value go; shape (tokens,)."""
    pairs = zip(batch.query_lengths, batch.context_lengths, strict=True)
    position = np.concatenate([np.arange(context, context + query) for query, context in pairs])
    request = np.repeat(np.arange(len(batch.query_lengths)), batch.query_lengths)
    block = block_table[request, position // block_size].astype(np.int64)
    return block * block_size + position % block_size


def flash_attention_case(paged: PagedBatch, num_layers: int) -> AttentionCase:
    """vLLM's FlashAttention, as its FLASH_ATTN backend calls it."""
    import torch

    ops, (attend, version), heads = custom_ops(), flash_attention(), paged.heads
    shape = (2, paged.num_blocks, heads.kv_block_size, heads.num_kv, heads.size)
    caches = [paged.random(*shape) for _ in range(num_layers)]
    scale = torch.ones(1, dtype=torch.float32, device=paged.query.device)
    max_query, max_sequence = max(paged.batch.query_lengths), max(paged.batch.sequence_lengths)
    return AttentionCase(
        attend=lambda layer: attend(
            q=paged.query,
            k=caches[layer][0],
            v=caches[layer][1],
            out=paged.out,
            cu_seqlens_q=paged.query_start,
            max_seqlen_q=max_query,
            seqused_k=paged.sequence_lengths,
            max_seqlen_k=max_sequence,
            softmax_scale=heads.scale,
            causal=True,
            block_table=paged.block_table,
            fa_version=version,
        ),
        save=lambda layer: ops.reshape_and_cache_flash(
            paged.key, paged.value, *caches[layer], paged.slots, "auto", scale, scale
        ),
    )


def cpu_attention_case(paged: PagedBatch, num_layers: int) -> AttentionCase:
    """vLLM's own CPU attention, as its CPU_ATTN backend calls it (vLLM 0.32)."""
    ops, heads, dtype = custom_ops(), paged.heads, paged.query.dtype
    isa = cpu_attention_instructions(dtype, heads.kv_block_size, heads.size)
    shape = (paged.num_blocks, heads.num_kv, heads.kv_block_size, heads.size)
    caches = [[paged.random(*shape) for _ in range(2)] for _ in range(num_layers)]
    metadata = ops.cpu_attn_get_scheduler_metadata(
        num_reqs=len(paged.batch.query_lengths),
        num_heads=heads.num_query,
        num_kv_heads=heads.num_kv,
        head_dim=heads.size,
        seq_lens=paged.sequence_lengths,
        dtype=dtype,
        query_start_loc=paged.query_start,
        causal=True,
        sliding_window_size=-1,
        isa=isa,
        enable_kv_split=True,
    )
    return AttentionCase(
        attend=lambda layer: ops.cpu_attention_with_kv_cache(
            query=paged.query,
            key_cache=caches[layer][0],
            value_cache=caches[layer][1],
            output=paged.out,
            query_start_loc=paged.query_start,
            seq_lens=paged.sequence_lengths,
            scale=heads.scale,
            causal=True,
            alibi_slopes=None,
            sliding_window=-1,
            block_table=paged.block_table,
            softcap=0.0,
            scheduler_metadata=metadata,
            s_aux=None,
        ),
        save=lambda layer: ops.cpu_attn_reshape_and_cache(
            paged.key, paged.value, *caches[layer], paged.slots, isa
        ),
    )


ATTENTION_CASES: Mapping[str, Callable[[PagedBatch, int], AttentionCase]] = {
    "FLASH_ATTN": flash_attention_case,
    "CPU_ATTN": cpu_attention_case,
}

"""What the ranks of a model under tensor parallelism exchange, through vLLM's own communicators."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.config.model_card import read_model_dimensions
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.engines.base import Operator, Rank
from gpu_timing_assets.engines.vllm import VllmPreset
from gpu_timing_assets.engines.vllm.engine import engine_arguments
from gpu_timing_assets.engines.vllm.operators import prepare_process, vocab_shard_size
from gpu_timing_assets.engines.vllm.surface import (
    collective_capture,
    join_tensor_parallel_group,
    leave_tensor_parallel_group,
)

# enough in a row to hide what a graph's start takes, and that no two ranks reach the first at once
REDUCED_TENSORS, GATHERED_TENSORS = 32, 8


class VllmCollectives:
    """See `gpu_timing_assets.engines.base.Collectives`.

    vLLM chooses by size what reduces a tensor: its custom all-reduce, or NCCL beyond its bound.
    """

    def __init__(self, config: ExperimentConfig, params: EngineParams, rank: Rank) -> None:
        """In a process that has not imported vLLM yet; returns once all ranks are there."""
        assert isinstance(config.backend, VllmPreset)
        hardware, dimensions = config.hardware, read_model_dimensions(config.model)
        prepare_process(hardware, params)
        import torch
        from vllm.engine.arg_utils import AsyncEngineArgs

        self._torch, self._dtype = torch, getattr(torch, params.dtype)
        self._device = torch.device(hardware.device)
        self._capture: Callable[[], AbstractContextManager[Any]] = nullcontext
        if hardware.device == "cuda":
            self._device = torch.device("cuda", rank.index)
            torch.cuda.set_device(self._device)
            self._capture = partial(collective_capture, self._device)
        arguments = engine_arguments(config.model, hardware, config.backend)
        vllm_config = AsyncEngineArgs(**arguments).create_engine_config()
        self._group = join_tensor_parallel_group(vllm_config, rank.index, rank.meeting_point)
        self._hidden_size = dimensions.hidden_size
        self._vocab_shard_size = vocab_shard_size(dimensions, rank.count)

    def all_reduces(self, token_counts: Sequence[int]) -> Iterator[tuple[int, Operator]]:
        # made once: the custom all-reduce keeps the addresses of what it has reduced in a graph
        tensors = self._zeros(REDUCED_TENSORS, max(token_counts), self._hidden_size)
        for tokens in token_counts:
            call = partial(_each, self._group.all_reduce, [x[:tokens] for x in tensors])
            yield tokens, Operator("all_reduce", call, REDUCED_TENSORS, capture=self._capture)

    def logits_gathers(self, request_counts: Sequence[int]) -> Iterator[tuple[int, Operator]]:
        tensors = self._zeros(GATHERED_TENSORS, max(request_counts), self._vocab_shard_size)
        for count in request_counts:
            call = partial(_each, self._group.all_gather, [x[:count] for x in tensors])
            yield count, Operator("logits_gather", call, GATHERED_TENSORS)

    def shutdown(self) -> None:
        leave_tensor_parallel_group()

    def _zeros(self, *shape: int) -> Any:
        """Zeros stay what they are: a CPU's all-reduce leaves the sum in its argument."""
        return self._torch.zeros(*shape, dtype=self._dtype, device=self._device)


def _each(collective: Callable[[Any], Any], tensors: Sequence[Any], layer: int) -> Any:
    return collective(tensors[layer])

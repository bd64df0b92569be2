"""Hugging Face transformers, one request at a time: the reference for a single request."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from gpu_timing_assets.config.dtype import resolved_dtype
from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.config.model_card import card_directory, context_limit, read_model_dimensions
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.errors import DeviceError, EngineError
from gpu_timing_assets.engines.base import Recording
from gpu_timing_assets.engines.settings import environment, flat_settings
from gpu_timing_assets.engines.transformers import ENGINE


class TransformersEngine:
    """See `gpu_timing_assets.engines.base.Engine`. Requests wait for each other in order."""

    def __init__(self, config: ExperimentConfig, scratch: Path, device_name: str) -> None:
        """Load the model. Raises `DeviceError` without torch, transformers or the device."""
        model, hardware, backend = config.model, config.hardware, config.backend
        os.environ["HF_HUB_OFFLINE"] = "1"
        try:
            import torch
            import transformers
        except ImportError as error:
            raise DeviceError(
                f"torch and transformers cannot be imported here ({error}): install the lock for "
                "this machine"
            ) from None
        if hardware.omp_num_threads:
            torch.set_num_threads(hardware.omp_num_threads)
        self.recording: Recording | None = None
        dimensions = read_model_dimensions(model)
        self._torch, self._device = torch, torch.device(hardware.device)
        dtype = getattr(torch, resolved_dtype(model, hardware))
        torch.manual_seed(model.seed)
        loaded: Any
        if model.weights:
            loaded = transformers.AutoModelForCausalLM.from_pretrained(model.weights, dtype=dtype)
        else:
            card = transformers.AutoConfig.from_pretrained(card_directory(model))
            loaded = transformers.AutoModelForCausalLM.from_config(card, dtype=dtype)
        self._model: Any = loaded.to(device=self._device).eval()
        eos = loaded.config.eos_token_id
        self._eos_token_ids = {eos} if isinstance(eos, int) else set(eos or ())
        self._turn = asyncio.Lock()
        max_model_len = context_limit(model, backend)
        self.params = EngineParams(
            engine=ENGINE.name,
            engine_version=transformers.__version__,
            device_name=device_name,
            model_dimensions=dimensions,
            dtype=resolved_dtype(model, hardware),
            max_model_len=max_model_len,
            max_num_seqs=1,
            max_num_batched_tokens=max_model_len,
            enable_chunked_prefill=False,
            async_scheduling=False,
            enable_prefix_caching=False,
            num_kv_blocks=0,
            kv_block_size=1,
            attention_backend=str(loaded.config._attn_implementation),
            graph_mode="NONE",
            comparable_under_load=ENGINE.comparable_under_load,
            resolved=flat_settings(loaded.config.to_dict()),
            environment=environment(),
        )

    async def ready(self) -> None:
        return None

    async def observe_steps(self, on: bool) -> None:
        if on:
            raise EngineError(f"{ENGINE.name} has no steps: leave backend.observe_steps off")

    async def stream(
        self, request_id: str, prompt_token_ids: Sequence[int], num_tokens: int, *, stop_early: bool
    ) -> AsyncIterator[int]:
        async with self._turn:
            step_input = self._torch.tensor([list(prompt_token_ids)], device=self._device)
            cache = None
            for _ in range(num_tokens):
                token, cache = await asyncio.to_thread(self._step, step_input, cache)
                yield 1
                if stop_early and token in self._eos_token_ids:
                    return
                step_input = self._torch.tensor([[token]], device=self._device)

    def _step(self, input_ids, cache):  # type: ignore[no-untyped-def]
        with self._torch.inference_mode():
            given = {"input_ids": input_ids, "past_key_values": cache}
            output = self._model(**given, use_cache=True, logits_to_keep=1)
            return int(output.logits[0, -1].argmax()), output.past_key_values

    async def flush_recording(self) -> None:
        return None

    def shutdown(self) -> None:
        del self._model

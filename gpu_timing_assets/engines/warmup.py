"""Requests before a measurement: kernels are compiled, caches warm, graphs replayed once."""

from gpu_timing_assets.config.backend import BackendPreset
from gpu_timing_assets.core.errors import EngineError
from gpu_timing_assets.engines.base import Engine
from gpu_timing_assets.engines.replay import PlannedRequest, replay

WARMUP_INTERVAL_NS = 30_000_000


async def warm_up(engine: Engine, backend: BackendPreset) -> None:
    """Have the engine ready, and serve `warmup_requests` requests of the preset's size, the second
    half of them while the first decode.

    Raises `EngineError` if one fails: nothing measured after that would mean anything.
    """
    await engine.ready()
    half = backend.warmup_requests // 2
    planned, positions = [], range(backend.warmup_prefill_tokens)
    for index in range(backend.warmup_requests):
        arrival_ns = max(0, index - half + 1) * WARMUP_INTERVAL_NS
        prompt = [100 + (index * 31 + position) % 1000 for position in positions]
        name, tokens = f"warmup.{index}", backend.warmup_decode_tokens
        planned.append(PlannedRequest(name, arrival_ns, prompt, tokens))
    result = await replay(engine, planned, request_timeout_s=backend.request_timeout_s)
    if result.errors:
        kind, message = next(iter(result.errors.values()))
        raise EngineError(f"a warm-up request failed with {kind}: {message}")

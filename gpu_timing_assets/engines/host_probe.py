"""A fixed probe of the host's speed: some seconds through the engine, no workload.

In each round a request decodes alone, then eight together, into which prompts are sent one by one;
rounds are played for `backend.probe_s` at least, since a host changes its pace within a second.
The steps are observed, so that the host's own time in them is known whatever the GPU does.
"""

import time
from collections.abc import Iterator

import pandas as pd

from gpu_timing_assets.config.backend import BackendPreset
from gpu_timing_assets.core.errors import EngineError
from gpu_timing_assets.core.host_probe import (
    ALONE_TOKENS,
    INJECTED_PROMPT_TOKENS,
    PROMPT_TOKENS,
    TOGETHER,
    TOGETHER_TOKENS,
    HostProbe,
)
from gpu_timing_assets.engines.base import Engine
from gpu_timing_assets.engines.recorded_steps import describe_steps
from gpu_timing_assets.engines.replay import PlannedRequest, replay

ROUNDS, INJECTIONS = 3, 3
PAUSE_NS, INJECTION_PAUSE_NS = 5_000_000, 15_000_000
MIN_STEPS = 5


async def probe_host(
    engine: Engine, tag: str, backend: BackendPreset, *, observe_on: bool
) -> HostProbe | None:
    """Play the probe, its requests named by `tag`, as `backend` has it; None for an engine that
    records no steps.

    `observe_on`: whether steps are observed after it. Raises `EngineError` if a request fails or
    the steps that it is made for did not come.
    """
    if engine.recording is None:
        return None
    await engine.observe_steps(True)
    planned: list[PlannedRequest] = []
    errors: dict[int, tuple[str, str]] = {}
    begin = time.monotonic()
    while not errors and (not planned or time.monotonic() - begin < backend.probe_s):
        rounds = [*_rounds(tag, len(planned))]
        planned += rounds
        result = await replay(engine, rounds, request_timeout_s=backend.request_timeout_s)
        errors = result.errors
    await engine.flush_recording()
    await engine.observe_steps(observe_on)
    if errors:
        kind, message = next(iter(errors.values()))
        raise EngineError(f"a request of the host's probe failed with {kind}: {message}")
    recorded = engine.recording.read()
    prompts = pd.Series([len(request.prompt_token_ids) for request in planned])
    steps = describe_steps(recorded.steps, recorded.batches_of(tag), prompts, engine.params)
    return host_probe(steps)


def host_probe(steps: pd.DataFrame) -> HostProbe:
    """From the described and observed steps of a probe.

    Raises `EngineError` if there are too few of a kind.
    """
    parts = ("schedule", "execute", "sample", "update")
    host_ms = sum(steps[f"{part}_end_ns"] - steps[f"{part}_begin_ns"] for part in parts) / 1e6
    decodes, prefills = steps["num_decode_requests"], steps["num_prefill_requests"]
    kinds = {
        "decode_1_ms": (decodes == 1) & (prefills == 0),
        "decode_8_ms": (decodes == TOGETHER) & (prefills == 0),
        "mixed_ms": (decodes > 0) & (steps["num_prefill_tokens"] >= INJECTED_PROMPT_TOKENS),
    }
    times = {name: host_ms[rows].dropna() for name, rows in kinds.items()}
    if few := [
        f"{len(found)} for {name}" for name, found in times.items() if len(found) < MIN_STEPS
    ]:
        raise EngineError(
            f"the host's probe has too few observed steps ({', '.join(few)}; {MIN_STEPS} are "
            "needed): the machine is too busy, or set backend.probe_host=false"
        )
    medians = {name: float(found.median()) for name, found in times.items()}
    return HostProbe(**medians, num_mixed_steps=len(times["mixed_ms"]))


def _rounds(tag: str, played: int) -> Iterator[PlannedRequest]:
    """`ROUNDS` of them, behind `played` requests. A round's requests are: the one alone, those
    together, those injected one after the other.

    The next round begins when the last of those together has ended.
    """
    size = 1 + TOGETHER + INJECTIONS
    for alone in range(0, ROUNDS * size, size):
        before = alone - INJECTIONS - 1 if alone else None
        yield _request(tag, played + alone, PAUSE_NS, PROMPT_TOKENS, ALONE_TOKENS, before)
        injected = alone + 1 + TOGETHER
        for number in range(alone + 1, injected):
            name = played + number
            yield _request(tag, name, PAUSE_NS, PROMPT_TOKENS, TOGETHER_TOKENS, alone)
        for number in range(injected, alone + size):
            first = number == injected
            pause_ns = 2 * INJECTION_PAUSE_NS if first else INJECTION_PAUSE_NS
            after = alone if first else number - 1
            yield _request(tag, played + number, pause_ns, INJECTED_PROMPT_TOKENS, 1, after)


def _request(
    tag: str, number: int, pause_ns: int, prompt_tokens: int, tokens: int, after: int | None
) -> PlannedRequest:
    """`number`: among all of the probe's; `after`: the position of one in the same replay."""
    prompt = [1000 + (number * 7919 + position * 31) % 100_000 for position in range(prompt_tokens)]
    return PlannedRequest(f"{tag}.{number}", pause_ns, prompt, tokens, after)

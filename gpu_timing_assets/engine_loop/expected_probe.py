"""What the host's probe takes at the speed at which a bundle was measured, by the bundle's fits.

A bundle's own probes are seconds of it, its bursts are minutes: what they say of the same steps is
how fast the host was on average, and that is the speed that a simulation has.
"""

from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.host_probe import (
    ALONE_TOKENS,
    INJECTED_PROMPT_TOKENS,
    PROMPT_TOKENS,
    TOGETHER,
    TOGETHER_TOKENS,
    HostTimes,
)
from gpu_timing_assets.engine_loop.kernels import KernelTimes
from gpu_timing_assets.engine_loop.loop_timing import EngineTiming, StepKernels
from gpu_timing_assets.engine_loop.sequence import Sequence
from gpu_timing_assets.engine_loop.step import Step


def expected_probe(params: EngineParams, kernels: KernelTimes, timing: EngineTiming) -> HostTimes:
    """In the middle of a request's answer, at the pace of the bursts' average step."""
    host, pace = timing.host, timing.host.pace.of_steps
    of_steps = StepKernels(params, kernels)

    def host_ms(decodes: int, tokens: int, prompt_tokens: int) -> float:
        step = _step(decodes, PROMPT_TOKENS + tokens // 2, prompt_tokens)
        kernel_ms, requests = of_steps.seconds(step) * 1e3, step.num_requests
        execute = host.execute[host.execute_mode(step.graph_mode)]
        # of a synchronous engine the execution holds the model's computation
        size = step.num_tokens if params.async_scheduling else kernel_ms
        total_ms = host.schedule(requests, step.with_prompt) + execute(size, requests)
        total_ms += host.sample(requests) + host.update(requests, step.with_prompt)
        return pace * total_ms

    return HostTimes(
        decode_1_ms=host_ms(1, ALONE_TOKENS, 0),
        decode_8_ms=host_ms(TOGETHER, TOGETHER_TOKENS, 0),
        mixed_ms=host_ms(TOGETHER, TOGETHER_TOKENS, INJECTED_PROMPT_TOKENS),
    )


def _step(decodes: int, context: int, prompt_tokens: int) -> Step:
    step = Step()
    for number in range(decodes):
        decoding = Sequence(number, 1, context + 1)
        decoding.num_computed_tokens = context
        step.add(decoding, 1)
    if prompt_tokens:
        step.add(Sequence(decodes, prompt_tokens, 1), prompt_tokens)
    step.close()
    return step

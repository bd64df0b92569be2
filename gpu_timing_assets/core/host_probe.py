"""How fast an engine's host was at one moment: what a fixed probe found."""

from collections.abc import Sequence
from statistics import geometric_mean, mean

from gpu_timing_assets.core.files import Metadata

# what is played: a request that decodes alone, then several together, beside which prompts come
PROMPT_TOKENS, INJECTED_PROMPT_TOKENS = 32, 256
ALONE_TOKENS, TOGETHER, TOGETHER_TOKENS = 24, 8, 80


class HostTimes(Metadata):
    """What the host takes for a step, in ms: scheduling, executing, sampling, processing; the GPU's
    time is in none of them.

    `decode_1_ms`, `decode_8_ms`: of steps in which so many requests decode; `mixed_ms`: of steps
    with a prompt beside them.
    """

    decode_1_ms: float
    decode_8_ms: float
    mixed_ms: float


class HostProbe(HostTimes):
    """The medians of one probe; `num_mixed_steps`: what `mixed_ms` rests on."""

    num_mixed_steps: int


def host_ratio(probes: Sequence[HostTimes], profiled: HostTimes) -> float:
    """How long the host took when `probes` were played, of what it took when it was profiled.

    The probes' mean of each kind of step is compared and the ratios' geometric mean is taken: a
    host that is slower is slower for each of them, and no kind knows it better.
    """
    kinds = tuple(HostTimes.model_fields)
    return geometric_mean(
        mean(getattr(probe, kind) for probe in probes) / getattr(profiled, kind) for kind in kinds
    )

"""How fast an engine's host was at one moment: what a fixed probe found."""

from collections.abc import Sequence
from statistics import geometric_mean, median

from gpu_timing_assets.core.files import Metadata


class HostProbe(Metadata):
    """Median time that the host took for a step of the probe, in ms: scheduling, executing,
    sampling, processing; the GPU's time is in none of them.

    `decode_1_ms`, `decode_8_ms`: of steps in which so many requests decode; `mixed_ms`: of steps
    with a prompt beside them. `num_mixed_steps`: what the last rests on.
    """

    decode_1_ms: float
    decode_8_ms: float
    mixed_ms: float
    num_mixed_steps: int


def host_ratio(probes: Sequence[HostProbe], profiled: Sequence[HostProbe]) -> float:
    """How long the host took when `probes` were played, of what it took when it was profiled.

    The medians of each kind of step are compared and their ratios' geometric mean is taken: a host
    that is slower is slower for each of them, and no kind knows it better.
    """

    def typical(name: str, found: Sequence[HostProbe]) -> float:
        return float(median(getattr(probe, name) for probe in found))

    kinds = ("decode_1_ms", "decode_8_ms", "mixed_ms")
    return geometric_mean(typical(kind, probes) / typical(kind, profiled) for kind in kinds)

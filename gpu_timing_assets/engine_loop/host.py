"""The engine's host time: what its Python loop does around each step."""

from dataclasses import dataclass

from gpu_timing_assets.engine_loop.fitted_time import FittedTime


@dataclass(frozen=True)
class HostTiming:
    """The parts of the loop in `loop_timing`'s picture. `launch` by graph mode: for a synchronous
    engine its whole execution.

    The first step of an engine that had nothing to do is another matter: it begins `wake_up_ms`
    late, and its launch finds caches cold (`launch_after_idle`, by graph mode).
    """

    schedule: FittedTime
    launch: dict[str, FittedTime]
    launch_after_idle: dict[str, FittedTime]
    update: FittedTime
    gap: FittedTime
    wake_up_ms: float

"""The engine's host time: what its Python loop does around each step, and how fast it is just then.

A host does not take the same time for the same step: a virtual machine's cores are now faster, now
slower, for tenths of a second, and everything that the loop does is then slower together. So what a
step of its size takes (`HostTiming`) is multiplied with the pace of that moment, drawn as a series
in time from what the bursts recorded (`HostPace`).
"""

from dataclasses import dataclass, replace

import numpy as np

from gpu_timing_assets.engine_loop.cuda_graphs import EAGER
from gpu_timing_assets.engine_loop.fitted_time import FittedTime

WINDOW_S = 0.1
BLOCK_WINDOWS = 10
GOLDEN_RATIO = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class HostPace:
    """How long the host took for steps, of what it took on average, in windows of `WINDOW_S` that
    followed each other; `windows`: shape (windows,), 1 for a host that is always as fast.
    """

    windows: np.ndarray

    @classmethod
    def steady(cls) -> "HostPace":
        return cls(np.ones(1))

    @property
    def of_steps(self) -> float:
        """Of the average step: the harmonic mean, for the windows are equally long, and a slow one
        holds fewer steps.
        """
        return float(1 / (1 / self.windows).mean())


@dataclass(frozen=True)
class HostTiming:
    """The parts of the loop in `loop_timing`'s picture, at a pace of 1.

    `dispatch`: schedule's end → the worker begins. `execute`: the worker's `execute_model`, by
    graph mode (of a synchronous engine it holds the model's computation); `execute_after_idle`: of
    an engine that had nothing to do, whose caches are cold. `sample`: its end → the end of
    `sample_tokens`. `result`: the result is there → the loop takes it up. An engine that sleeps
    begins `wake_up_ms` late.
    """

    schedule: FittedTime
    dispatch: FittedTime
    execute: dict[str, FittedTime]
    execute_after_idle: dict[str, FittedTime]
    sample: FittedTime
    result: FittedTime
    update: FittedTime
    gap: FittedTime
    wake_up_ms: float
    pace: HostPace

    def execute_mode(self, graph_mode: str) -> str:
        """The key in `execute` of steps in that mode; of one that the bursts did not show, eager or
        any other.
        """
        if graph_mode in self.execute:
            return graph_mode
        return EAGER if EAGER in self.execute else next(iter(self.execute))

    def at_speed(self, ratio: float) -> "HostTiming":
        """Of a host that takes `ratio` times as long for everything."""
        return replace(self, pace=HostPace(self.pace.windows * ratio))


class DrawnPace:
    """A `HostPace` drawn in time: blocks of recorded windows, one after the other.

    Slow and quick blocks are drawn in turn (an additive recurrence on the blocks by their mean), so
    that a run of some seconds meets about as many slow ones as were recorded: it is what is to be
    expected, not one throw of the dice.
    """

    def __init__(self, pace: HostPace, rng: np.random.Generator) -> None:
        size = min(BLOCK_WINDOWS, len(pace.windows))
        blocks = pace.windows[: len(pace.windows) // size * size].reshape(-1, size)
        self._blocks = blocks[np.argsort(blocks.mean(axis=1), kind="stable")]
        self._position = float(rng.random())
        self._drawn: list[float] = []

    def __call__(self, now_s: float) -> float:
        window = int(now_s / WINDOW_S)
        while window >= len(self._drawn):
            self._position = (self._position + GOLDEN_RATIO) % 1.0
            block = self._blocks[int(self._position * len(self._blocks))]
            self._drawn.extend(block.tolist())
        return self._drawn[window]

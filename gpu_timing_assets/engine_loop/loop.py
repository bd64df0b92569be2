"""vLLM's loop, one step after the other; the caller keeps the clock.

    while (step := loop.next_step()) is not None:
        step.schedule_begin_s = now
        now += timing.duration_s(step)
        loop.finish(step)

With asynchronous scheduling a step is scheduled before the result of the one before it is known: no
more than one step is ahead.
"""

from typing import Protocol

from gpu_timing_assets.engine_loop.step import Step
from gpu_timing_assets.engine_loop.vllm_v1_scheduler import VllmV1Scheduler


class StepTiming(Protocol):
    """How long a turn of the loop takes (see `loop_timing`).

    `asynchronous`: whether a step is launched before the result of the one before it is processed.
    """

    asynchronous: bool

    def duration_s(self, step: Step) -> float:
        """From `step.schedule_begin_s` to when the next step can be scheduled.

        Sets the other times of `step`, and `result_s` of the step whose result is processed.
        """
        ...


class EngineLoop:
    """`steps`: those whose result was processed, in that order."""

    def __init__(self, scheduler: VllmV1Scheduler, *, asynchronous: bool) -> None:
        self.scheduler = scheduler
        self.steps: list[Step] = []
        self._asynchronous = asynchronous
        self._in_flight: Step | None = None

    @property
    def is_idle(self) -> bool:
        return not self.scheduler.num_requests and self._in_flight is None

    def next_step(self) -> Step | None:
        """The next step, scheduled; None if nothing can be done before a request arrives."""
        if self.is_idle:
            return None
        step = Step(self._in_flight)
        self.scheduler.schedule(step)
        step.close()
        return step if step.sequences or step.previous is not None else None

    def finish(self, step: Step) -> None:
        """The turn of `step` is over: process the result that it waited for."""
        if not self._asynchronous:
            self._process(step)
            return
        if step.previous is not None:
            self._process(step.previous)
            step.previous = None
        self._in_flight = step if step.sequences else None

    def _process(self, step: Step) -> None:
        self.scheduler.update_from_output(step)
        self.steps.append(step)

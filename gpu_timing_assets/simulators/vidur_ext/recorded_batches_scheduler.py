"""Replays the batches of a real run through the time model: no error of the scheduler is left."""

from collections import deque
from dataclasses import dataclass

import pandas as pd
from vidur.entities import Request

from gpu_timing_assets.simulators.vidur_ext.engine_step import EngineStep
from gpu_timing_assets.simulators.vidur_ext.vllm_v1_scheduler import (
    Sequence,
    VllmV1ReplicaScheduler,
    VllmV1SchedulerConfig,
    VllmV1SchedulerType,
)


@dataclass
class RecordedBatchesSchedulerConfig(VllmV1SchedulerConfig):
    """`recorded`: the `engine_batches` of a real run; `after_idle`: its steps before which the
    engine had nothing in flight.
    """

    recorded: pd.DataFrame | None = None
    after_idle: frozenset[int] = frozenset()

    @staticmethod
    def get_type() -> VllmV1SchedulerType:
        return VllmV1SchedulerType(VllmV1SchedulerType.RECORDED_BATCHES)


class RecordedBatchesScheduler(VllmV1ReplicaScheduler):
    """Schedules what the real engine scheduled, step by step and back to back; all requests must be
    there from the start.
    """

    def __init__(self, *args, **kwargs) -> None:  # type: ignore[no-untyped-def]
        super().__init__(*args, **kwargs)
        recorded = self._config.recorded.sort_values("step", kind="stable")
        self._recorded = deque(
            (
                number,
                list(
                    zip(
                        group["request_id"],
                        group["num_scheduled_tokens"],
                        group["num_computed_tokens"],
                        strict=True,
                    )
                ),
            )
            for number, group in recorded.groupby("step")
        )
        self._arrived: dict[int, Sequence] = {}

    def add_request(self, request: Request) -> None:
        super().add_request(request)
        self._arrived[request.id] = self._waiting[-1]

    def _fill(self, step: EngineStep) -> None:
        if not self._recorded or (
            step.previous is not None and self._recorded[0][0] in self._config.after_idle
        ):
            return
        for request, tokens, computed in self._recorded.popleft()[1]:
            sequence = self._arrived[request]
            if sequence not in self._running:
                self._running.append(sequence)
            if computed == 0 and sequence.computed:
                # the real engine had preempted it: a result that was on its way then is dropped
                sequence.epoch += 1
                sequence.in_flight = 0
            step.sequences.append(sequence)
            step.new_tokens.append(int(tokens))
            step.computed_tokens.append(int(computed))
        self._waiting = type(self._waiting)(
            sequence for sequence in self._waiting if sequence not in self._running
        )

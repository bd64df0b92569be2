"""A replica scheduler for Vidur's registry that leaves every decision to an `EngineLoop`."""

from dataclasses import dataclass
from typing import Any

from vidur.config.config import BaseReplicaSchedulerConfig
from vidur.entities import Request
from vidur.scheduler.replica_scheduler.base_replica_scheduler import BaseReplicaScheduler
from vidur.types import BaseIntEnum

from gpu_timing_assets.engine_loop.loop import EngineLoop
from gpu_timing_assets.engine_loop.sequence import Sequence
from gpu_timing_assets.simulators.vidur_ext.batch import StepBatch


class LoopSchedulerType(BaseIntEnum):
    ENGINE_LOOP = 100


@dataclass
class LoopSchedulerConfig(BaseReplicaSchedulerConfig):
    """`loop` takes the requests and keeps the steps."""

    loop: EngineLoop | None = None

    @staticmethod
    def get_type() -> LoopSchedulerType:
        return LoopSchedulerType(LoopSchedulerType.ENGINE_LOOP)


class LoopReplicaScheduler(BaseReplicaScheduler):
    """One batch at a time: a step of the loop, of which one more may be in flight."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        assert self._config.loop is not None
        self._loop: EngineLoop = self._config.loop

    @property
    def num_pending_requests(self) -> int:
        return self._loop.scheduler.num_requests

    def is_empty(self) -> bool:
        return self._loop.is_idle

    def add_request(self, request: Request) -> None:
        lengths = request.num_prefill_tokens, request.num_decode_tokens
        self._loop.scheduler.add(Sequence(request.id, *lengths))

    def _get_next_batch(self, time: float) -> StepBatch | None:  # type: ignore[override]
        step = self._loop.next_step()
        return None if step is None else StepBatch(step)

    def on_batch_end(self, batch: StepBatch) -> None:  # type: ignore[override]
        super().on_batch_end(batch)
        self._loop.finish(batch.step)

"""A step of the engine as Vidur's event loop carries it: a batch whose time is one round of the
engine's loop.
"""

from typing import TYPE_CHECKING

from vidur.entities import Request
from vidur.types import ReplicaId

from gpu_timing_assets.engine_loop.kernel_times import StepShape

if TYPE_CHECKING:
    from gpu_timing_assets.simulators.vidur_ext.vllm_v1_scheduler import Sequence


class LoopTime:
    """What Vidur asks of an execution time, in seconds."""

    __slots__ = ("model_time", "total_time")

    def __init__(self, total_time: float) -> None:
        self.total_time = self.model_time = total_time


class EngineStep:
    """One round of the engine's loop: launch this step, process the result of `previous`.

    `sequences` with `new_tokens` each, after `computed_tokens` before; `outputs` are those that get
    a token. A step without sequences only waits for the one before it. The execution-time predictor
    sets the times, in seconds: `schedule_end`, `ready` (the GPU is done) and, for the step whose
    result is processed in this round, its `result`.
    """

    def __init__(self, replica_id: ReplicaId, number: int, previous: "EngineStep | None") -> None:
        self.id, self.replica_id = number, replica_id
        self.previous = previous
        self.sequences: list[Sequence] = []
        self.new_tokens: list[int] = []
        self.computed_tokens: list[int] = []
        self.outputs: list[tuple[Sequence, int]] = []
        self.num_prefill_tokens = self.num_prefill_requests = self.prefill_pairs = 0
        self.num_decode_requests = self.decode_kv_tokens = self.kv_tokens = 0
        self.graph_mode = ""
        self.after_idle = False
        self.schedule_end = self.ready = self.result = 0.0
        self.scheduled_at = self.completed_at = 0.0

    def shape(self, padded_tokens: int) -> StepShape:
        return StepShape(
            self.num_prefill_tokens,
            self.num_prefill_requests,
            self.prefill_pairs,
            self.num_decode_requests,
            self.decode_kv_tokens,
            len(self.outputs),
            padded_tokens,
        )

    @property
    def num_tokens(self) -> int:
        return self.num_prefill_tokens + self.num_decode_requests

    # the attributes that Vidur's own predictors read
    @property
    def requests(self) -> list[Request]:
        return [sequence.request for sequence in self.sequences]

    @property
    def num_q_tokens(self) -> list[int]:
        return self.new_tokens

    @property
    def num_kv_tokens(self) -> list[int]:
        return self.computed_tokens

    @property
    def _total_num_q_tokens(self) -> int:
        return sum(self.new_tokens)

    @property
    def _total_num_q_tokens_rounded(self) -> int:
        return (sum(self.new_tokens) + 7) // 8 * 8

    def on_schedule(self, time: float) -> None:
        self.scheduled_at = time

    def on_batch_end(self, time: float) -> None:
        self.completed_at = time

    def to_batch_stage(self, stage_id: int, execution_time: LoopTime) -> "StepStage":
        return StepStage(execution_time.total_time)


class StepStage:
    """The one pipeline stage of a step, as far as Vidur's events need it."""

    __slots__ = ("_end", "execution_time")

    def __init__(self, execution_time: float) -> None:
        self.execution_time = execution_time

    def on_schedule(self, time: float) -> None:
        self._end = time + self.execution_time

    def on_stage_end(self, time: float) -> None:
        assert time == self._end

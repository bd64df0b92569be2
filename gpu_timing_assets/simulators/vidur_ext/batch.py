"""A step of the engine as Vidur's events carry it."""

from gpu_timing_assets.engine_loop.step import Step


class StepBatch:
    """A `Step` with the names of Vidur's `Batch` and of its one `BatchStage`, which asks for
    `execution_time` in seconds. Vidur's own predictors keep notes on it.
    """

    def __init__(self, step: Step) -> None:
        self.step = step
        self.execution_time = 0.0

    @property
    def num_q_tokens(self) -> list[int]:
        return self.step.num_scheduled_tokens

    @property
    def num_kv_tokens(self) -> list[int]:
        return self.step.num_computed_tokens

    @property
    def _total_num_q_tokens(self) -> int:
        return sum(self.num_q_tokens)

    @property
    def _total_num_q_tokens_rounded(self) -> int:
        return (self._total_num_q_tokens + 7) // 8 * 8

    def on_schedule(self, time: float) -> None:
        self.step.schedule_begin_s = time

    def to_batch_stage(self, stage_id: int, execution_time: float) -> "StepBatch":
        self.execution_time = execution_time
        return self

    def _on_end(self, time: float) -> None:
        """The loop is told by the scheduler."""

    on_stage_end = on_batch_end = _on_end

"""vLLM V1's scheduler and its loop as a Vidur replica scheduler (rules of vLLM 0.26 to 0.32,
`v1/core/sched`).

One token budget a step. Running requests come first, in the order they were admitted, each with
what it has left of its prompt or one token; when KV blocks run out, the request admitted last is
preempted and later computed again. Then waiting requests, in arrival order, while there are
sequences and budget left, if no one was preempted in this step and the blocks for the whole prompt
are free. With asynchronous scheduling a step is scheduled before the result of the one before is
known; a request that must have reached its last token by then is not scheduled again.
"""

from collections import deque
from dataclasses import dataclass, field

from vidur.config.config import BaseReplicaSchedulerConfig
from vidur.entities import Request
from vidur.scheduler.replica_scheduler.base_replica_scheduler import BaseReplicaScheduler
from vidur.types import BaseIntEnum

from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.simulators.vidur_ext.engine_step import EngineStep
from gpu_timing_assets.simulators.vidur_ext.step_log import StepLog


class VllmV1SchedulerType(BaseIntEnum):
    VLLM_V1 = 100
    RECORDED_BATCHES = 101


@dataclass
class VllmV1SchedulerConfig(BaseReplicaSchedulerConfig):
    """`params` are the real engine's resolved knobs; `log` takes what the loop did."""

    params: EngineParams | None = None
    log: StepLog = field(default_factory=StepLog)

    @staticmethod
    def get_type() -> VllmV1SchedulerType:
        return VllmV1SchedulerType(VllmV1SchedulerType.VLLM_V1)


class Sequence:
    """A request in the scheduler. `computed` counts tokens scheduled so far; `in_flight` results
    not yet processed.
    """

    __slots__ = (
        "blocks",
        "computed",
        "epoch",
        "in_flight",
        "num_outputs",
        "num_prompt",
        "num_total",
        "request",
        "request_id",
    )

    def __init__(self, request: Request) -> None:
        self.request, self.request_id = request, request.id
        self.num_prompt, self.num_total = (
            request.num_prefill_tokens,
            request.num_prefill_tokens + request.num_decode_tokens,
        )
        self.computed = self.num_outputs = self.in_flight = self.blocks = self.epoch = 0


class VllmV1ReplicaScheduler(BaseReplicaScheduler):
    """Forms `EngineStep`s; the predictor says how long each round of the loop takes."""

    def __init__(self, *args, **kwargs) -> None:  # type: ignore[no-untyped-def]
        super().__init__(*args, **kwargs)
        assert self._config.params is not None
        self._params = self._config.params
        self._log = self._config.log
        self._timer = self._execution_time_predictor
        self._asynchronous = self._timer.asynchronous
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []
        # vLLM keeps block 0 as a null block
        self._free_blocks = self._params.num_kv_blocks - 1
        self._block_size = self._params.kv_block_size
        self._long_prefill = int(self._params.other.get("long_prefill_token_threshold", 0))
        self._reserve_full_prompt = bool(
            self._params.other.get("scheduler_reserve_full_isl", False)
        )
        self._watermark_blocks = int(
            self._params.other.get("watermark", 0.0) * self._params.num_kv_blocks
        )
        self._in_flight: EngineStep | None = None
        self._number = 0

    @property
    def num_pending_requests(self) -> int:
        return len(self._waiting) + len(self._running)

    @property
    def memory_usage_percent(self) -> float:
        return 100 * (1 - self._free_blocks / self._params.num_kv_blocks)

    def is_empty(self) -> bool:
        return not self._waiting and not self._running and self._in_flight is None

    def get_pending_requests(self) -> list[Request]:
        return [sequence.request for sequence in (*self._running, *self._waiting)]

    def add_request(self, request: Request) -> None:
        self._waiting.append(Sequence(request))

    def _get_next_batch(self, time: float) -> EngineStep | None:  # type: ignore[override]
        previous = self._in_flight
        if previous is None and not self._waiting and not self._running:
            return None
        step = EngineStep(self._replica_id, self._number, previous)
        self._schedule(step)
        if not step.sequences and previous is None:
            return None
        self._number += 1
        return step

    def on_batch_end(self, step: EngineStep) -> None:  # type: ignore[override]
        super().on_batch_end(step)
        if self._asynchronous:
            if step.previous is not None:
                self._process(step.previous)
            self._in_flight = step if step.sequences else None
        else:
            self._process(step)

    def _schedule(self, step: EngineStep) -> None:
        """Fill `step` with what this round schedules and count it as computed."""
        self._fill(step)
        decode_kv = num_decodes = prefill_tokens = num_prefills = pairs = prefill_kv = 0
        outputs = step.outputs
        for sequence, tokens, done in zip(
            step.sequences, step.new_tokens, step.computed_tokens, strict=True
        ):
            if tokens == 1 and done >= sequence.num_prompt:
                num_decodes += 1
                decode_kv += done + 1
            else:
                num_prefills += 1
                prefill_tokens += tokens
                prefill_kv += done + tokens
                pairs += tokens * done + tokens * (tokens + 1) // 2
            sequence.computed = done + tokens
            if done + tokens >= sequence.num_prompt + sequence.num_outputs + sequence.in_flight:
                sequence.in_flight += 1
                outputs.append((sequence, sequence.epoch))
        step.kv_tokens = decode_kv + prefill_kv
        step.num_prefill_tokens, step.num_prefill_requests, step.prefill_pairs = (
            prefill_tokens,
            num_prefills,
            pairs,
        )
        step.num_decode_requests, step.decode_kv_tokens = num_decodes, decode_kv

    def _fill(self, step: EngineStep) -> None:
        """Choose the sequences of `step` and their tokens."""
        budget = self._params.max_num_batched_tokens
        limit = self._params.max_model_len - 1
        sequences, scheduled, computed = step.sequences, step.new_tokens, step.computed_tokens
        preempted = False
        running, asynchronous, block_size, threshold = (
            self._running,
            self._asynchronous,
            self._block_size,
            self._long_prefill,
        )
        index = 0
        while index < len(running) and budget > 0:
            sequence = running[index]
            index += 1
            done = sequence.computed
            if (
                asynchronous
                and sequence.in_flight
                and done + 2 - sequence.in_flight >= sequence.num_total
            ):
                continue
            tokens = sequence.num_prompt + sequence.num_outputs + sequence.in_flight - done
            if 0 < threshold < tokens:
                tokens = threshold
            tokens = min(tokens, budget, limit - done)
            if tokens <= 0:
                continue
            needed = -(-(done + tokens) // block_size) - sequence.blocks
            if needed > self._free_blocks:
                preempted = True
                while needed > self._free_blocks and running[-1] is not sequence:
                    self._preempt(running.pop())
                if needed > self._free_blocks:
                    self._preempt(running.pop())
                    break
            if needed:
                self._free_blocks -= needed
                sequence.blocks += needed
            sequences.append(sequence)
            scheduled.append(tokens)
            computed.append(done)
            budget -= tokens
        if not preempted:
            waiting = self._waiting
            while waiting and budget > 0 and len(running) < self._params.max_num_seqs:
                sequence = waiting[0]
                total = sequence.num_prompt + sequence.num_outputs
                tokens = min(total, threshold) if threshold else total
                if tokens > budget and not self._params.enable_chunked_prefill:
                    break
                tokens = min(tokens, budget)
                needed = -(-tokens // block_size)
                must_fit = -(-total // block_size) if self._reserve_full_prompt else needed
                headroom = self._watermark_blocks if running else 0
                if max(needed, must_fit) + headroom > self._free_blocks:
                    break
                waiting.popleft()
                running.append(sequence)
                self._free_blocks -= needed
                sequence.blocks = needed
                sequences.append(sequence)
                scheduled.append(tokens)
                computed.append(0)
                budget -= tokens

    def _preempt(self, sequence: Sequence) -> None:
        self._free_blocks += sequence.blocks
        sequence.blocks = sequence.computed = sequence.in_flight = 0
        # a result of before the preemption that is still on its way is dropped and computed again
        sequence.epoch += 1
        self._waiting.appendleft(sequence)

    def _process(self, step: EngineStep) -> None:
        finished = False
        produced: list[int] = []
        for sequence, epoch in step.outputs:
            if sequence.epoch != epoch:
                continue
            sequence.in_flight -= 1
            sequence.num_outputs += 1
            produced.append(sequence.request_id)
            if sequence.num_prompt + sequence.num_outputs >= sequence.num_total:
                self._free_blocks += sequence.blocks
                sequence.blocks = -1
                finished = True
        if finished:
            self._running = [sequence for sequence in self._running if sequence.blocks >= 0]
        step.outputs.clear()
        self._log.add(step, produced)

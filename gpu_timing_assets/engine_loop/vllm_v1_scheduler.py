"""vLLM V1's scheduler (rules of vLLM 0.26 to 0.32, `v1/core/sched/scheduler.py`).

One token budget a step. Running requests come first, in the order they were admitted, each with
what it has left of its prompt or one token; when KV blocks run out, the request admitted last is
preempted and later computed again. Then waiting requests, in arrival order, while there are
sequences and budget left, if no one was preempted in this step and the blocks for the whole prompt
are free.
"""

import sys
from collections import deque

from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.engine_loop.kv_blocks import KvBlocks
from gpu_timing_assets.engine_loop.sequence import Sequence
from gpu_timing_assets.engine_loop.step import Step


class VllmV1Scheduler:
    """The queues of one engine with the resolved settings `params`."""

    def __init__(self, params: EngineParams) -> None:
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self.kv_blocks = KvBlocks(params.num_kv_blocks, params.kv_block_size)
        self._max_num_seqs = params.max_num_seqs
        self._max_num_batched_tokens = params.max_num_batched_tokens
        self._max_model_len = params.max_model_len
        self._enable_chunked_prefill = params.enable_chunked_prefill
        # 0 is no threshold
        threshold = int(params.other.get("long_prefill_token_threshold", 0))
        self._long_prefill_token_threshold = threshold or sys.maxsize
        self._reserve_full_prompt = bool(params.other.get("scheduler_reserve_full_isl", False))
        self._watermark_blocks = int(params.other.get("watermark", 0.0) * params.num_kv_blocks)

    @property
    def num_requests(self) -> int:
        return len(self.waiting) + len(self.running)

    def add(self, sequence: Sequence) -> None:
        self.waiting.append(sequence)

    def schedule(self, step: Step) -> None:
        """Fill `step`."""
        token_budget, preempted = self._schedule_running(step)
        if not preempted:
            self._schedule_waiting(step, token_budget)

    def update_from_output(self, step: Step) -> None:
        """Process the result of `step`: its tokens are known, and who has the last one leaves."""
        finished = False
        for sequence, num_preemptions in step.outputs:
            # what was in flight when a request was preempted is dropped and computed again
            if sequence.num_preemptions != num_preemptions:
                continue
            sequence.num_output_placeholders -= 1
            sequence.num_tokens += 1
            step.produced.append(sequence.request_id)
            if sequence.is_finished:
                self.kv_blocks.free(sequence)
                finished = True
        step.outputs.clear()
        if finished:
            self.running = [sequence for sequence in self.running if not sequence.is_finished]

    def _schedule_running(self, step: Step) -> tuple[int, bool]:
        """Returns the token budget that is left, and whether a request was preempted."""
        token_budget, preempted = self._max_num_batched_tokens, False
        # those that are preempted meanwhile leave from the end
        for sequence in self.running:
            if token_budget <= 0:
                break
            num_new_tokens = self._num_new_tokens(sequence, token_budget)
            if num_new_tokens <= 0:
                continue
            end = sequence.num_computed_tokens + num_new_tokens
            while not self.kv_blocks.allocate(sequence, end):
                preempted = True
                if self._preempt_last() is sequence:
                    return token_budget, preempted
            step.add(sequence, num_new_tokens)
            token_budget -= num_new_tokens
        return token_budget, preempted

    def _schedule_waiting(self, step: Step, token_budget: int) -> None:
        while self.waiting and token_budget > 0 and len(self.running) < self._max_num_seqs:
            sequence = self.waiting[0]
            num_new_tokens = min(sequence.num_tokens, self._long_prefill_token_threshold)
            if num_new_tokens > token_budget and not self._enable_chunked_prefill:
                return
            num_new_tokens = min(num_new_tokens, token_budget)
            must_fit = sequence.num_tokens if self._reserve_full_prompt else num_new_tokens
            headroom = self._watermark_blocks if self.running else 0
            if self.kv_blocks.blocks_of(must_fit) + headroom > self.kv_blocks.num_free:
                return
            self.kv_blocks.allocate(sequence, num_new_tokens)
            self.running.append(self.waiting.popleft())
            step.add(sequence, num_new_tokens)
            token_budget -= num_new_tokens

    def _num_new_tokens(self, sequence: Sequence, token_budget: int) -> int:
        num_computed = sequence.num_computed_tokens
        placeholders = sequence.num_output_placeholders
        # vLLM: "Avoid scheduling an extra step when we are sure that the previous step has reached
        # request.max_tokens", once its placeholders are filled. The sum is vLLM's, which takes away
        # draft tokens among them: (num_computed + 1) - (placeholders - 1)
        if placeholders and num_computed + 2 - placeholders >= (
            sequence.num_prompt_tokens + sequence.max_tokens
        ):
            return 0
        return min(
            sequence.num_tokens + placeholders - num_computed,
            self._long_prefill_token_threshold,
            token_budget,
            self._max_model_len - 1 - num_computed,
        )

    def _preempt_last(self) -> Sequence:
        sequence = self.running.pop()
        self.kv_blocks.free(sequence)
        sequence.drop_computed()
        self.waiting.appendleft(sequence)
        return sequence

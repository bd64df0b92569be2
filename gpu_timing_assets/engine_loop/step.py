"""A step of the engine: what is in it, and when it happened."""

from dataclasses import dataclass, field
from typing import Optional

from gpu_timing_assets.engine_loop.sequence import Sequence


@dataclass(slots=True, eq=False)
class Step:
    """One turn of the loop: launch this step, process the result of `previous`.

    `sequences` get `num_scheduled_tokens` each, after `num_computed_tokens` before; `outputs` are
    those whose next token the step computes, with their preemptions so far, and `produced` the
    requests that got one. A step without sequences only waits for the one before it. `gpu_end_s` is
    when its kernels are done, `result_s` when its result is processed.
    """

    previous: Optional["Step"] = None
    sequences: list[Sequence] = field(default_factory=list)
    num_scheduled_tokens: list[int] = field(default_factory=list)
    num_computed_tokens: list[int] = field(default_factory=list)
    outputs: list[tuple[Sequence, int]] = field(default_factory=list)
    produced: list[int] = field(default_factory=list)
    num_prefill_tokens: int = 0
    num_prefill_requests: int = 0
    prefill_attention_pairs: int = 0
    num_decode_requests: int = 0
    kv_tokens: int = 0
    decode_kv_tokens: int = 0
    num_outputs: int = 0
    padded_tokens: int = 0
    graph_mode: str = ""
    after_idle: bool = False
    schedule_begin_s: float = 0.0
    schedule_end_s: float = 0.0
    gpu_end_s: float = 0.0
    result_s: float = 0.0

    @property
    def num_requests(self) -> int:
        return len(self.sequences)

    @property
    def with_prompt(self) -> bool:
        return self.num_prefill_requests > 0

    @property
    def num_tokens(self) -> int:
        return self.num_prefill_tokens + self.num_decode_requests

    def add(self, sequence: Sequence, num_new_tokens: int) -> None:
        """Put the next `num_new_tokens` of `sequence` into the step and count them as computed."""
        num_computed = sequence.num_computed_tokens
        self.sequences.append(sequence)
        self.num_scheduled_tokens.append(num_new_tokens)
        self.num_computed_tokens.append(num_computed)
        end = num_computed + num_new_tokens
        self.kv_tokens += end
        if num_new_tokens == 1 and num_computed >= sequence.num_prompt_tokens:
            self.decode_kv_tokens += end
        else:
            self.num_prefill_requests += 1
            self.num_prefill_tokens += num_new_tokens
            self.prefill_attention_pairs += (
                num_new_tokens * num_computed + num_new_tokens * (num_new_tokens + 1) // 2
            )
        sequence.num_computed_tokens = end
        if end >= sequence.num_tokens + sequence.num_output_placeholders:
            sequence.num_output_placeholders += 1
            self.outputs.append((sequence, sequence.num_preemptions))

    def close(self) -> None:
        """Count what follows from the sequences that were added."""
        self.num_decode_requests = len(self.sequences) - self.num_prefill_requests
        self.num_outputs = len(self.outputs)

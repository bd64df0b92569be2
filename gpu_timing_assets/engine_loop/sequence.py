"""A request in the scheduler."""

from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Sequence:
    """How far a request has come, in vLLM's words.

    `num_tokens` are known, of prompt and output together, and `num_computed_tokens` scheduled so
    far; `num_output_placeholders` output tokens are computed by steps in flight, not yet known.
    """

    request_id: int
    num_prompt_tokens: int
    max_tokens: int
    num_tokens: int = field(init=False)
    num_computed_tokens: int = 0
    num_output_placeholders: int = 0
    num_blocks: int = 0
    num_preemptions: int = 0

    def __post_init__(self) -> None:
        self.num_tokens = self.num_prompt_tokens

    @property
    def is_finished(self) -> bool:
        return self.num_tokens >= self.num_prompt_tokens + self.max_tokens

    def drop_computed(self) -> None:
        """Preempted: everything is computed again, and a result in flight is not this one's."""
        self.num_computed_tokens = self.num_output_placeholders = 0
        self.num_preemptions += 1

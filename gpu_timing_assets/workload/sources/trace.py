"""The requests of a public trace."""

from typing import Literal

from gpu_timing_assets.config.workload import Source, TraceSelection
from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.workload.draw_context import DrawContext
from gpu_timing_assets.workload.requests import Candidates, Prompts


class TraceSource(TraceSelection, Source):
    """Requests of a public trace, its lengths and, with arrivals of kind `trace`, its times."""

    kind: Literal["trace"]

    @property
    def recorded(self) -> TraceSelection:
        return self

    def candidates(self, context: DrawContext, count: int | None) -> Candidates:
        """With the trace's texts, or else random tokens that share prefixes as its block hashes."""
        import numpy as np

        trace = context.trace(self)
        requests = trace.requests_with_lengths()
        available = len(requests.rows)
        if count is not None and count > available:
            raise WorkloadError(
                f"{trace.path}: {count} requests are wanted, the trace has {available} that can be "
                "used: lower num_requests, duration_s or the rate"
            )
        taken = requests.take(np.arange(available if count is None else count))
        if taken.texts is not None:
            prompts = Prompts(taken.prompt_ids, texts=tuple(taken.texts))
        else:
            # seeds belong to rows of the file, so that a window or filter does not change a
            # request's tokens
            prompts = Prompts(
                taken.prompt_ids,
                token_seeds=context.token_seeds(int(taken.rows.max()) + 1)[taken.rows],
                block_ids=taken.blocks,
                block_size_tokens=taken.block_size_tokens,
            )
        return Candidates(prompts, taken.num_prefill_tokens, taken.num_decode_tokens, trace.source)


PLUGIN = TraceSource

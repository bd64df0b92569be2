"""Prompts of random tokens."""

from typing import Literal

from gpu_timing_assets.config.workload import Source, WorkloadPreset
from gpu_timing_assets.workload.draw_context import DrawContext
from gpu_timing_assets.workload.requests import Candidates, Prompts


class SyntheticSource(Source):
    """Prompts of random tokens, as long as `prefill_lengths` says."""

    kind: Literal["synthetic"]

    def check_fits(self, workload: WorkloadPreset) -> None:
        if workload.prefill_lengths is None or workload.decode_lengths is None:
            raise ValueError("a synthetic source needs prefill_lengths and decode_lengths")
        counts = (workload.num_requests, workload.duration_s)
        if counts == (None, None) and not workload.arrivals.has_end:
            raise ValueError("a synthetic source needs num_requests or duration_s")

    def candidates(self, context: DrawContext, count: int | None) -> Candidates:
        lengths = context.preset.prefill_lengths
        assert count is not None  # see check_fits
        assert lengths is not None
        prompt_ids = [f"synthetic-{index}" for index in range(count)]
        return Candidates(
            Prompts(prompt_ids, token_seeds=context.token_seeds(count)),
            lengths.draw(context.stream("prefill_lengths"), count, context),
            None,
        )


PLUGIN = SyntheticSource

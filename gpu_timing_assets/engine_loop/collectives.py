"""What the devices that share a model wait for each other for, in each step."""

import pandas as pd

from gpu_timing_assets.engine_loop.interpolation import Curve

# behind attn_post_proj and mlp_down_proj, and once behind the embedding, whose rows are shared out
ALL_REDUCES_PER_LAYER, ALL_REDUCES_PER_STEP = 2, 1
ALL_REDUCE_MEDIAN = "time_stats.all_reduce.median"
LOGITS_GATHER_MEDIAN = "time_stats.logits_gather.median"


class Collectives:
    """Of one model on several devices, in ms, from the bundle's `all_reduce` and `head` tables."""

    def __init__(self, all_reduce: pd.DataFrame, head: pd.DataFrame, num_layers: int) -> None:
        self._num_all_reduces = ALL_REDUCES_PER_LAYER * num_layers + ALL_REDUCES_PER_STEP
        self.all_reduce = Curve.of(all_reduce["num_tokens"], all_reduce[ALL_REDUCE_MEDIAN])
        self._logits_gather = Curve.of(head["num_requests"], head[LOGITS_GATHER_MEDIAN])

    def all_reduces_ms(self, tokens: int) -> float:
        """Of the hidden states of a step of `tokens` (padded), all layers together."""
        return self._num_all_reduces * self.all_reduce(tokens)

    def logits_gather_ms(self, num_outputs: int) -> float:
        """Each device computes the logits of its share of the vocabulary."""
        return self._logits_gather(num_outputs)

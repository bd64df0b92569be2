"""What the simulated engine did, step by step, and the run tables made of it."""

from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from gpu_timing_assets.simulators.vidur_ext.engine_step import EngineStep


class StepLog:
    """Collects finished steps; the tables are made at the end, all at once."""

    def __init__(self) -> None:
        self._steps: list[EngineStep] = []
        self._produced: list[list[int]] = []

    def add(self, step: "EngineStep", produced: list[int]) -> None:
        self._steps.append(step)
        self._produced.append(produced)

    @property
    def num_steps(self) -> int:
        return len(self._steps)

    def token_times(
        self, client_delay_s: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """`(request, time_ns)` of every token at the client, in the order they were made.

        `client_delay_s(num_outputs, position, after_idle)` is the time from a step's result to the
        client, by how many requests got a token in that step, which of them this is, and whether
        the engine had been idle; shapes (tokens,).
        """
        counts = np.array([len(produced) for produced in self._produced], dtype=np.int64)
        result = np.repeat(np.array([step.result for step in self._steps]), counts)
        first = np.repeat(np.cumsum(counts) - counts, counts)
        position = np.arange(counts.sum()) - first
        after_idle = np.repeat(
            np.array([step.after_idle for step in self._steps], dtype=bool), counts
        )
        request = np.fromiter(
            chain.from_iterable(self._produced), dtype=np.int64, count=int(counts.sum())
        )
        return request, to_ns(
            result + client_delay_s(np.repeat(counts, counts), position, after_idle)
        )

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """`(engine_steps, engine_batches)`."""
        steps = pd.DataFrame(
            {
                "step": np.arange(len(self._steps)),
                "schedule_begin_ns": to_ns(np.array([step.scheduled_at for step in self._steps])),
                "schedule_end_ns": to_ns(np.array([step.schedule_end for step in self._steps])),
                "result_ns": to_ns(np.array([step.result for step in self._steps])),
                "num_prefill_tokens": [step.num_prefill_tokens for step in self._steps],
                "num_prefill_requests": [step.num_prefill_requests for step in self._steps],
                "num_decode_requests": [step.num_decode_requests for step in self._steps],
                "kv_tokens": [step.kv_tokens for step in self._steps],
                "graph_mode": [step.graph_mode for step in self._steps],
            }
        )
        sizes = [len(step.sequences) for step in self._steps]
        batches = pd.DataFrame(
            {
                "step": np.repeat(np.arange(len(self._steps)), sizes),
                "request_id": np.array(
                    [s.request_id for step in self._steps for s in step.sequences], dtype=np.int64
                ),
                "num_scheduled_tokens": np.array(
                    [n for step in self._steps for n in step.new_tokens], dtype=np.int64
                ),
                "num_computed_tokens": np.array(
                    [n for step in self._steps for n in step.computed_tokens], dtype=np.int64
                ),
            }
        )
        return steps, batches


def to_ns(seconds: np.ndarray) -> np.ndarray:
    return np.rint(np.asarray(seconds, dtype=float) * 1e9).astype(np.int64)

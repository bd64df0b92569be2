"""A Vidur request generator that replays a workload."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from vidur.config import BaseRequestGeneratorConfig
from vidur.entities import Request
from vidur.request_generator.base_request_generator import BaseRequestGenerator
from vidur.types import BaseIntEnum


class WorkloadRequestGeneratorType(BaseIntEnum):
    WORKLOAD = 100


@dataclass
class WorkloadRequestGeneratorConfig(BaseRequestGeneratorConfig):
    """`lengths`: a workload's `trace_lengths`. `visible_s`: when each request can first be
    scheduled, shape (requests,), not necessarily sorted.
    """

    lengths: pd.DataFrame | None = None
    visible_s: np.ndarray | None = None

    @staticmethod
    def get_type() -> WorkloadRequestGeneratorType:
        return WorkloadRequestGeneratorType(WorkloadRequestGeneratorType.WORKLOAD)


class WorkloadRequestGenerator(BaseRequestGenerator):
    """Request ids are those of the workload: 0 … n−1."""

    def generate_requests(self) -> list[Request]:
        lengths = self.config.lengths
        columns = (lengths[f"num_{part}_tokens"].tolist() for part in ("prefill", "decode"))
        return [
            Request(at, prefill, decode)
            for at, prefill, decode in zip(self.config.visible_s.tolist(), *columns, strict=True)
        ]

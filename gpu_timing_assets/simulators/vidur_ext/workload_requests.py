"""A Vidur request generator that replays a workload directory."""

from dataclasses import dataclass, field

import numpy as np
from vidur.config import BaseRequestGeneratorConfig
from vidur.entities import Request
from vidur.request_generator.base_request_generator import BaseRequestGenerator
from vidur.types import BaseIntEnum


class WorkloadRequestGeneratorType(BaseIntEnum):
    WORKLOAD = 100


@dataclass
class WorkloadRequestGeneratorConfig(BaseRequestGeneratorConfig):
    """`visible_s`: when each request can first be scheduled, shape (requests,), not necessarily
    sorted.
    """

    visible_s: np.ndarray = field(default_factory=lambda: np.zeros(0))
    num_prefill_tokens: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))
    num_decode_tokens: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))

    @staticmethod
    def get_type() -> WorkloadRequestGeneratorType:
        return WorkloadRequestGeneratorType(WorkloadRequestGeneratorType.WORKLOAD)


class WorkloadRequestGenerator(BaseRequestGenerator):
    """Request ids are those of the workload: 0 … n−1."""

    def generate_requests(self) -> list[Request]:
        config = self.config
        return [
            Request(at, prefill, decode)
            for at, prefill, decode in zip(
                config.visible_s.tolist(),
                config.num_prefill_tokens.tolist(),
                config.num_decode_tokens.tolist(),
                strict=True,
            )
        ]

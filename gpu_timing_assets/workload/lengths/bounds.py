"""What length processes with a shortest and a longest have in common."""

from typing import Self

from pydantic import model_validator

from gpu_timing_assets.config.workload import LengthProcess, Tokens


class BoundedLengths(LengthProcess):
    """Lengths between two bounds, both included."""

    minimum: Tokens = 1
    """Shortest length in tokens."""

    maximum: Tokens
    """Longest length in tokens."""

    @model_validator(mode="after")
    def _minimum_below_maximum(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is above maximum {self.maximum}")
        return self

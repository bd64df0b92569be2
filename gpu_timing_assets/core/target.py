"""A target: the model, the hardware and the engine that are measured and simulated."""

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Target:
    """Each by the name of its preset."""

    model: str
    hardware: str
    backend: str

    @property
    def id(self) -> str:
        """`<model>--<hardware>--<backend>`: the target's part of run and comparison ids."""
        return f"{self.model}--{self.hardware}--{self.backend.replace('_', '-')}"

    def __str__(self) -> str:
        return self.id


def comparison_id(workload_id: str, target: Target) -> str:
    return f"{workload_id}--{target.id}"

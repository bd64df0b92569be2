"""Which workload the demo plays: one that this machine can serve at this moment."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpu_timing_assets.core.machine import InstructionSet, cpu_instruction_set, slowdown

if TYPE_CHECKING:
    from gpu_timing_assets.config.experiment import ExperimentConfig

USUAL, SLOW = "chat_poisson", "chat_slow"
USUAL_TOKENS_PER_S = 110
# qwen3-tiny at 60 requests/s on two idle cores of an AMD EPYC (Zen 5), in the CPU's dtype
SERVED_TOKENS_PER_S: dict[InstructionSet, int] = {"avx512_bf16": 1300, "avx512": 1000, "avx2": 700}
# beyond half of what can be served a queue builds up, and its length is mostly chance
MOST_LOAD = 0.5


@dataclass(frozen=True)
class DemoWorkload:
    """A workload preset and, in sentences, why it is that one and in which dtype the model runs."""

    workload_id: str
    reason: str


def demo_workload(config: "ExperimentConfig") -> DemoWorkload:
    """`chat_poisson`, or `chat_slow` where this CPU, at its present speed, cannot serve that."""
    instructions = cpu_instruction_set(config.hardware.cpu_instruction_set)
    if config.hardware.device != "cpu" or instructions is None:
        return DemoWorkload(USUAL, "")
    served = SERVED_TOKENS_PER_S[instructions] / max(slowdown(), 1e-3)
    reasons = []
    if instructions != "avx512_bf16" and config.model.dtype == "auto":
        reasons.append(
            "the model runs in float32: this CPU has no instructions for bfloat16, which would be "
            "several times slower."
        )
    if served * MOST_LOAD >= USUAL_TOKENS_PER_S:
        return DemoWorkload(USUAL, " ".join(reasons))
    reasons.append(
        f"about {served:.0f} tokens/s can be served here at this moment, too few for {USUAL}'s "
        f"{USUAL_TOKENS_PER_S}: "
        f"{SLOW} is played, at one request a second."
    )
    return DemoWorkload(SLOW, " ".join(reasons))

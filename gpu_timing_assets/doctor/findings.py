"""What the doctor finds, one line each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gpu_timing_assets.core.errors import DeviceError, GpuTimingError

Verdict = Literal["ok", "warning", "cannot"]


@dataclass(frozen=True)
class Finding:
    """`text` was found, `remedy` is what to do, `fault` the kind of error that a `cannot` is."""

    verdict: Verdict
    subject: str
    text: str
    remedy: str = ""
    fault: type[GpuTimingError] = DeviceError

    @property
    def line(self) -> str:
        remedy = f": {self.remedy}" if self.remedy else ""
        return f"{self.verdict:<9}{self.subject:<10}{self.text}{remedy}"


def cannot(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.verdict == "cannot"]


def refuse(findings: Sequence[Finding]) -> None:
    """Raise the first `cannot` as the fault that it is."""
    for finding in cannot(findings):
        raise finding.fault(f"{finding.subject}: {finding.text}: {finding.remedy}")

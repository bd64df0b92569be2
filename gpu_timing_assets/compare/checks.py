"""What an orchestrator shows as checks of a comparison: plain data, made from a finished
comparison.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from gpu_timing_assets.compare.results import (
    BELOW_NOISE,
    FAIL,
    PASS,
    UNDEFINED,
    WARN,
    ComparisonResult,
)


@dataclass(frozen=True)
class CheckOutcome:
    """`severity` is what a failed check amounts to; a passed one keeps it as what it would have
    been.
    """

    name: str
    passed: bool
    severity: Literal["warn", "error"]
    description: str
    metadata: dict[str, Any] = field(default_factory=dict)


CHECK_NAMES = (
    "ttft_error",
    "itl_error",
    "tpot_error",
    "e2e_error",
    "throughput_error",
    "goodput_error",
    "parity",
    "real_runs_complete",
    "simulations_complete",
)


def check_outcomes(result: ComparisonResult) -> tuple[CheckOutcome, ...]:
    """One outcome for each name in `CHECK_NAMES`, in that order, of the primary simulation.

    A metric's check passes if each of its statistics passes or is below noise, warns if one warns,
    and is an error if one fails. Parity is an error if a mismatch was overridden. Completeness
    warns where requests failed.
    """
    return (
        *(
            _metric_check(result, metric)
            for metric in ("TTFT", "ITL", "TPOT", "E2E", "throughput", "goodput")
        ),
        _parity_check(result),
        _completeness_check(result, "real"),
        _completeness_check(result, "simulated"),
    )


def _metric_check(result: ComparisonResult, metric: str) -> CheckOutcome:
    rows = [
        row
        for row in result.verdicts
        if row.simulation == result.primary_simulation and row.metric == metric
    ]
    found = [row.verdict for row in rows]
    passed = all(verdict in (PASS, BELOW_NOISE, UNDEFINED) for verdict in found)
    parts = [
        f"{row.statistic} {row.error_pct:+.1f} % ({row.verdict})"
        for row in rows
        if row.error_pct is not None
    ]
    defined = [row for row in rows if row.error_pct is not None]
    metadata: dict[str, Any] = {f"{row.statistic}_error_pct": row.error_pct for row in defined}
    metadata |= {
        f"{row.statistic}_noise_pct": row.noise_pct for row in defined if row.noise_pct is not None
    }
    figures = ", ".join(parts) or "not defined on this workload"
    description = f"{metric} of {result.primary_simulation}: {figures}"
    return CheckOutcome(
        f"{metric.lower()}_error",
        passed,
        "error" if FAIL in found or WARN not in found else "warn",
        description,
        metadata,
    )


def _parity_check(result: ComparisonResult) -> CheckOutcome:
    overridden = list(result.meta.overridden)
    listed = list(result.meta.listed_mismatches)
    text = (
        "; ".join(overridden)
        if overridden
        else f"no knob that matters differs ({len(listed)} others are listed in tables/parity.csv)"
    )
    return CheckOutcome(
        "parity", not overridden, "error", text, {"overridden": overridden, "listed": listed}
    )


def _completeness_check(result: ComparisonResult, side: str) -> CheckOutcome:
    rows = [row for row in result.meta.completeness if row.side == side]
    failed = sum(row.failed_requests for row in rows)
    requests = sum(row.requests for row in rows)
    name = "real_runs_complete" if side == "real" else "simulations_complete"
    description = f"{requests - failed} of {requests} requests in {len(rows)} runs finished"
    return CheckOutcome(
        name,
        failed == 0,
        "warn",
        description,
        {"requests": requests, "failed_requests": failed, "runs": len(rows)},
    )

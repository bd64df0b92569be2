"""What an orchestrator shows as checks of a finished comparison: plain data."""

from dataclasses import dataclass, field
from typing import Any, Literal

from gpu_timing_assets.compare.show.text import signed_pct
from gpu_timing_assets.core.comparison import FAIL, WARN, ComparisonResult


@dataclass(frozen=True)
class CheckOutcome:
    """`severity` is what a failed check amounts to, or would have."""

    name: str
    passed: bool
    severity: Literal["warn", "error"]
    description: str
    metadata: dict[str, Any] = field(default_factory=dict)


def check_names() -> dict[str, str]:
    """Every check of a comparison and what it checks, before there is one to judge."""
    from gpu_timing_assets.metrics.registry import all_metrics

    return {
        **{
            f"{metric.slug}_error": f"The error of {metric.slug} lies within the preset's "
            "thresholds or the real runs' noise."
            for metric in all_metrics()
        },
        "parity": "Real run and simulation had the same settings.",
        "real_runs_complete": "Every request of the real runs was served.",
        "simulations_complete": "Every request of the simulations was served.",
    }


def check_outcomes(result: ComparisonResult) -> tuple[CheckOutcome, ...]:
    """One outcome for each of `check_names`, in that order, of the judged simulation.

    A metric's check passes if each of its statistics passes or is below noise, warns if one warns,
    and is an error if one fails. Parity is an error if a mismatch was overridden. Completeness
    warns where requests failed.
    """
    from gpu_timing_assets.metrics.registry import all_metrics

    return (
        *(_metric_check(result, metric.name, metric.slug) for metric in all_metrics()),
        _parity_check(result),
        _completeness_check(result, "real", "real_runs_complete"),
        _completeness_check(result, "simulated", "simulations_complete"),
    )


def _metric_check(result: ComparisonResult, metric: str, slug: str) -> CheckOutcome:
    rows = [row for row in result.judged_rows if row.metric == metric]
    found = [row.verdict for row in rows]
    defined = [row for row in rows if row.error_pct is not None]
    metadata = {f"{row.statistic}_error_pct": row.error_pct for row in defined}
    metadata |= {
        f"{row.statistic}_noise_pct": row.noise_pct for row in defined if row.noise_pct is not None
    }
    figures = ", ".join(
        f"{row.statistic} {signed_pct(row.error_pct)} ({row.verdict})" for row in defined
    )
    return CheckOutcome(
        f"{slug}_error",
        passed=FAIL not in found and WARN not in found,
        severity="error" if FAIL in found or WARN not in found else "warn",
        description=f"{metric} of {result.primary_simulation}: "
        f"{figures or 'not defined on this workload'}",
        metadata=metadata,
    )


def _parity_check(result: ComparisonResult) -> CheckOutcome:
    overridden = list(result.meta.overridden)
    listed = list(result.meta.listed_mismatches)
    others = f"({len(listed)} others are listed in tables/parity.csv)"
    text = "; ".join(overridden) or f"no setting that matters differs {others}"
    found = {"overridden": overridden, "listed": listed}
    return CheckOutcome("parity", not overridden, "error", text, found)


def _completeness_check(result: ComparisonResult, side: str, name: str) -> CheckOutcome:
    rows = [row for row in result.meta.completeness if row.side == side]
    failed = sum(row.failed_requests for row in rows)
    requests = sum(row.requests for row in rows)
    return CheckOutcome(
        name,
        passed=failed == 0,
        severity="warn",
        description=f"{requests - failed} of {requests} requests in {len(rows)} runs finished",
        metadata={"requests": requests, "failed_requests": failed, "runs": len(rows)},
    )

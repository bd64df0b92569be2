"""The first step whose batch differs, as the report shows it."""

from typing import Any

from gpu_timing_assets.compare.explain.batch_agreement import BATCH_AGREEMENT, FIRST_DIFFERENCE
from gpu_timing_assets.compare.findings import Findings

MAX_BATCH_LINES = 24


def first_difference(findings: Findings) -> dict[str, Any] | None:
    """Both batches at the first step where the judged simulation and a real run differ."""
    pairs = findings.tables[BATCH_AGREEMENT]
    differing = (pairs["other"] == findings.judged) & pairs["first_different_step"].notna()
    if not differing.any():
        return None
    pair = pairs[differing].iloc[0]
    entries = findings.tables[FIRST_DIFFERENCE]
    entries = entries[
        entries[["real_run", "other_run"]].eq(pair[["real_run", "other_run"]]).all(axis=1)
    ]
    real, simulated = (
        entries[entries["in_run"] == pair[run]]
        .set_index("request_id")["num_scheduled_tokens"]
        .to_dict()
        for run in ("real_run", "other_run")
    )
    rows = [
        dict(request=request, real=real.get(request), simulated=simulated.get(request))
        for request in sorted(real.keys() | simulated.keys())
    ]
    rows.sort(key=lambda row: row["real"] == row["simulated"])
    return {
        "step": int(pair["first_different_step"]),
        "real_run": pair["real_run"],
        "rows": rows[:MAX_BATCH_LINES],
        "requests": len(rows),
        "differing": sum(row["real"] != row["simulated"] for row in rows),
    }

"""How much of each run is compared, and which requests are left out."""

import pandas as pd

from gpu_timing_assets.compare.gate.align import Aligned
from gpu_timing_assets.compare.result_table import RUN_ID, SIDE, Column, table

COMPLETENESS = table(
    "completeness",
    RUN_ID,
    SIDE,
    Column("label", "name of the run in the report"),
    Column("requests", "requests in the run", "requests"),
    Column("failed_requests", "of these, not ok", "requests"),
    Column("compared_requests", "requests that are ok in every run", "requests"),
    Column("planned_tokens", "output tokens asked for", "tokens"),
    Column("made_tokens", "output tokens made", "tokens"),
    Column("compared_tokens", "the fewest that the real runs made, per request", "tokens"),
)
EXCLUDED = table(
    "excluded_requests",
    Column("request_id", "request left out of every run"),
    Column("run_id", "the run in which it failed"),
    SIDE,
    Column("reason", "the error as the run recorded it"),
)


def completeness(aligned: Aligned) -> pd.DataFrame:
    """One row a run."""
    return COMPLETENESS.frame(
        dict(
            run_id=run.meta.run_id,
            side=run.side,
            label=run.label,
            requests=len(run.requests),
            failed_requests=int((run.requests["status"] != "ok").sum()),
            compared_requests=len(aligned.grid),
            planned_tokens=int(run.requests["num_decode_tokens"].sum()),
            made_tokens=int(run.requests["num_decode_tokens_actual"].sum()),
            compared_tokens=int(aligned.grid.tokens.sum()),
        )
        for run in aligned.runs
    )


def excluded_requests(aligned: Aligned) -> pd.DataFrame:
    """One row for each request that failed and each run in which it did."""
    rows = []
    for run in aligned.runs:
        for failed in run.requests.loc[run.requests["status"] != "ok"].to_dict("records"):
            parts = [failed.get("error_type"), failed.get("error_msg")]
            reason = ": ".join(str(part) for part in parts if isinstance(part, str)) or "failed"
            where = dict(run_id=run.meta.run_id, side=run.side)
            rows.append(dict(request_id=failed["request_id"], **where, reason=reason))
    return EXCLUDED.frame(rows)

"""What a real run's metadata and `summary.md` say about it at a glance."""

from typing import Any

import pandas as pd

from gpu_timing_assets.core.run import RealRunMeta

NOT_COMPARABLE = {
    "transformers": "Backend `transformers` serves one request at a time: a reference for one "
    "request, not comparable under load.",
    "null_engine": "Backend `null_engine` returns tokens at once: these are the client's own "
    "times, not an engine's.",
}
PERCENTILES = {"p50": 50, "p90": 90, "p99": 99}


def run_statistics(requests: pd.DataFrame, tokens: pd.DataFrame) -> dict[str, Any]:
    """Percentiles in ms of the run's times and of the lateness of its submissions, and its token
    rate.
    """
    served = requests[requests["status"] == "ok"]
    lateness = (requests["submit_time_ns"] - requests["arrival_time_ns"]).dropna()
    end_ns = served["completion_time_ns"].max() if len(served) else pd.NA
    return {
        "ttft_ms": _percentiles_ms(served["ttft_ns"]),
        "itl_ms": _percentiles_ms(tokens["token_latency_ns"].dropna()),
        "e2e_ms": _percentiles_ms(served["completion_time_ns"] - served["arrival_time_ns"]),
        "submission_lateness_ms": {
            **_percentiles_ms(lateness),
            "max": round(float(lateness.max()) / 1e6, 3) if len(lateness) else 0.0,
        },
        "num_requests": len(requests),
        "num_failed": int((requests["status"] == "error").sum()),
        "num_tokens": len(tokens),
        "tokens_per_s": round(len(tokens) / (int(end_ns) / 1e9), 1)
        if not pd.isna(end_ns) and end_ns > 0
        else 0.0,
    }


def summary_markdown(meta: RealRunMeta) -> str:
    """`summary.md` of a real run."""
    rows = "\n".join(
        f"| {label} | "
        + " | ".join(f"{getattr(getattr(meta, key), name):.2f}" for name in PERCENTILES)
        + " |"
        for label, key in (
            ("TTFT", "ttft_ms"),
            ("ITL", "itl_ms"),
            ("E2E", "e2e_ms"),
            ("submission lateness", "submission_lateness_ms"),
        )
    )
    verdict = (
        "complete"
        if meta.status == "complete"
        else "**invalid**: " + "; ".join(meta.invalid_reasons)
    )
    note = "" if meta.params.comparable_under_load else f"\n{NOT_COMPARABLE[meta.backend]}\n"
    return (
        f"# Real run {meta.run_id}\n\n{meta.model} on {meta.params.device_name} under "
        f"{meta.params.engine} "
        f"{meta.params.engine_version}, repeat {meta.repeat + 1} of "
        f"{meta.repeats}: {verdict}.\n{note}\n"
        f"{meta.num_requests} requests, {meta.num_tokens} tokens, "
        f"{meta.tokens_per_s} tokens/s.\n\n"
        f"| ms | p50 | p90 | p99 |\n| --- | ---: | ---: | ---: |\n{rows}\n"
    )


def _percentiles_ms(values_ns: pd.Series) -> dict[str, float]:
    values = values_ns.dropna().astype("float64") / 1e6
    return {
        name: round(float(values.quantile(rank / 100)), 3) if len(values) else 0.0
        for name, rank in PERCENTILES.items()
    }

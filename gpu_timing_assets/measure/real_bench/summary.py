"""What a real run's metadata and `summary.md` say about it at a glance."""

from math import isnan

import pandas as pd

from gpu_timing_assets.core.run import Lateness, Percentiles, RealRunMeta, RunStatistics
from gpu_timing_assets.engines.base import engine_plugin
from gpu_timing_assets.metrics.run_latencies import latencies_ms, percentiles_ms

SHOWN_MS = {
    "TTFT": "ttft_ms",
    "ITL": "itl_ms",
    "E2E": "e2e_ms",
    "submission lateness": "submission_lateness_ms",
}


def run_statistics(requests: pd.DataFrame, tokens: pd.DataFrame) -> RunStatistics:
    """Times of the requests that were served, and the lateness of all submissions."""
    times = {name: _rounded(values) for name, values in latencies_ms(requests, tokens).items()}
    lateness_ns = (requests["submit_time_ns"] - requests["arrival_time_ns"]).dropna()
    lateness_ms = _rounded(percentiles_ms(lateness_ns))
    latest_ms = round(float(lateness_ns.max()) / 1e6, 3) if len(lateness_ns) else 0.0
    served = requests[requests["status"] == "ok"]
    end_ns = int(served["completion_time_ns"].max()) if len(served) else 0
    return RunStatistics(
        ttft_ms=times["TTFT"],
        itl_ms=times["ITL"],
        e2e_ms=times["E2E"],
        submission_lateness_ms=Lateness(**vars(lateness_ms), max=latest_ms),
        num_requests=len(requests),
        num_failed=int((requests["status"] == "error").sum()),
        num_tokens=len(tokens),
        tokens_per_s=round(len(tokens) / (end_ns / 1e9), 1) if end_ns > 0 else 0.0,
    )


def _rounded(percentiles: dict[str, float]) -> Percentiles:
    """To a microsecond; 0 of nothing, since metadata hold no NaN."""
    return Percentiles(
        **{name: 0.0 if isnan(value) else round(value, 3) for name, value in percentiles.items()}
    )


def summary_markdown(meta: RealRunMeta) -> str:
    """`summary.md` of a real run."""
    rows = []
    for label, field in SHOWN_MS.items():
        times: Percentiles = getattr(meta, field)
        rows.append(f"| {label} | {times.p50:.2f} | {times.p90:.2f} | {times.p99:.2f} |")
    invalid = "**invalid**: " + "; ".join(meta.invalid_reasons)
    verdict = "complete" if meta.status == "complete" else invalid
    caveat = engine_plugin(meta.backend).caveat
    note = f"\n{caveat}\n" if caveat else ""
    table = "\n".join(rows)
    return (
        f"# Real run {meta.run_id}\n\n{meta.model} on {meta.params.device_name} under "
        f"{meta.params.engine} {meta.params.engine_version}, repeat {meta.repeat + 1} of "
        f"{meta.repeats}: {verdict}.\n{note}\n"
        f"{meta.num_requests} requests, {meta.num_tokens} tokens, {meta.tokens_per_s} tokens/s.\n\n"
        f"| ms | p50 | p90 | p99 |\n| --- | ---: | ---: | ---: |\n{table}\n"
    )

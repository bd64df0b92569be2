"""`summary.md` of a simulated run."""

import pandas as pd

from gpu_timing_assets.core.run import SimRunMeta


def summary(meta: SimRunMeta, requests: pd.DataFrame, tokens: pd.DataFrame | None) -> str:
    times_ns = {
        "TTFT": requests["ttft_ns"],
        **({} if tokens is None else {"ITL": tokens["token_latency_ns"]}),
        "E2E": requests["completion_time_ns"] - requests["arrival_time_ns"],
    }
    marked = "**Beyond the bundle's grid: extrapolated.**\n\n" if meta.extrapolated else ""
    steps = f" in {meta.num_steps} steps" if meta.num_steps is not None else ""
    return (
        f"# Simulated run {meta.run_id}\n\n{meta.model} on {meta.hardware}, simulator "
        f"{meta.simulator}: {meta.label}.\n\n{marked}"
        f"{len(requests)} requests, {meta.num_tokens} tokens{steps}; {meta.simulated_s:.1f} s "
        f"simulated in {meta.wall_s:.1f} s.\n\n"
        "| ms | p50 | p90 | p99 |\n| --- | ---: | ---: | ---: |\n"
        + "".join(_row(name, values) for name, values in times_ns.items())
    )


def _row(name: str, values_ns: pd.Series) -> str:
    milliseconds = values_ns.dropna().astype(float) / 1e6
    cells = (f"{milliseconds.quantile(q):.2f}" for q in (0.5, 0.9, 0.99))
    return f"| {name} | {' | '.join(cells)} |\n"

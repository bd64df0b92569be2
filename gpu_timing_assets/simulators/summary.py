"""`summary.md` of a simulated run."""

import pandas as pd

from gpu_timing_assets.core.run import SimRunMeta
from gpu_timing_assets.metrics.run_latencies import latencies_ms


def summary(meta: SimRunMeta, requests: pd.DataFrame, tokens: pd.DataFrame | None) -> str:
    rows = [
        f"| {name} | {' | '.join(f'{value:.2f}' for value in percentiles.values())} |\n"
        for name, percentiles in latencies_ms(requests, tokens).items()
    ]
    marked = "**Beyond the bundle's grid: extrapolated.**\n\n" if meta.extrapolated else ""
    steps = f" in {meta.num_steps} steps" if meta.num_steps is not None else ""
    return (
        f"# Simulated run {meta.run_id}\n\n{meta.model} on {meta.hardware}, simulator "
        f"{meta.simulator}: {meta.label}.\n\n{marked}"
        f"{len(requests)} requests, {meta.num_tokens} tokens{steps}; {meta.simulated_s:.1f} s "
        f"simulated in {meta.wall_s:.1f} s.\n\n"
        "| ms | p50 | p90 | p99 |\n| --- | ---: | ---: | ---: |\n" + "".join(rows)
    )

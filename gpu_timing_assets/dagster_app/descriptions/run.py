"""What a person wants to see of a real or simulated run on Dagster's page."""

from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from gpu_timing_assets.core.host_probe import HostTimes
from gpu_timing_assets.core.run import RealRunMeta, SimRunMeta
from gpu_timing_assets.core.tables.invariants import read_run_tables
from gpu_timing_assets.dagster_app.descriptions.metadata_table import metadata_table
from gpu_timing_assets.dagster_app.descriptions.sparkline import sparkline
from gpu_timing_assets.dagster_app.execution.stage import StageClock
from gpu_timing_assets.metrics.run_latencies import latencies_ms


def describe_real_runs(
    run_dirs: Sequence[Path], metas: Sequence[RealRunMeta], clock: StageClock
) -> dict[str, Any]:
    """All repeats of one engine start; the numbers followed over time are the first one's."""
    tables = [read_run_tables(directory) for directory in run_dirs]
    first = metas[0]
    invalid = sorted({reason for meta in metas for reason in meta.invalid_reasons})
    rows = [
        {"run": directory.name.rsplit("-", 1)[-1], "status": meta.status, **latency_entries(*table)}
        for directory, meta, table in zip(run_dirs, metas, tables, strict=True)
    ]
    return {
        "latencies": metadata_table(rows),
        **latency_entries(*tables[0]),
        **_over_time(*tables[0]),
        "lateness_p99_ms": first.submission_lateness_ms.p99,
        "engine_start_s": first.engine_start_s,
        "engine": f"{first.params.engine} {first.params.engine_version}",
        "device": first.params.device_name,
        "repeats": len(run_dirs),
        "valid": not invalid,
        **({"invalid_reasons": "; ".join(invalid)} if invalid else {}),
        **_host_probes(metas),
        "directory": dg.MetadataValue.path(run_dirs[0]),
        "stage_seconds": clock.seconds,
    }


def _host_probes(metas: Sequence[RealRunMeta]) -> dict[str, Any]:
    """How long the host took for a step of the probe beside each repeat, in ms."""
    rows = [
        {
            "run": f"r{meta.repeat}",
            "when": when,
            **{name: getattr(probe, name) for name in HostTimes.model_fields},
        }
        for meta in metas
        for when, probe in (("before", meta.probe_before), ("after", meta.probe_after))
        if probe is not None
    ]
    return {"host_probes": metadata_table(rows)} if rows else {}


def describe_sim_run(meta: SimRunMeta, directory: Path, clock: StageClock) -> dict[str, Any]:
    requests, tokens = read_run_tables(directory)
    simulated_s = float(requests["completion_time_ns"].max()) / 1e9
    wall_s, latencies = meta.wall_s, latency_entries(requests, tokens)
    return {
        "latencies": metadata_table([{"simulation": meta.label, **latencies}]),
        **latencies,
        **_over_time(requests, tokens),
        "predictor": meta.label,
        "substitution": meta.substitution or "none",
        "steps": meta.num_steps or 0,
        "simulated_s": simulated_s,
        "wall_s": wall_s,
        "times_faster_than_real": simulated_s / wall_s if wall_s else 0.0,
        "extrapolated": meta.extrapolated,
        **({"host_ratio": meta.host_ratio} if meta.host_ratio is not None else {}),
        "directory": dg.MetadataValue.path(directory),
        "stage_seconds": clock.seconds,
    }


def latency_entries(requests: pd.DataFrame, tokens: pd.DataFrame | None) -> dict[str, float]:
    """Median and p99 of each latency that the run has, in ms: `ttft_p50_ms` …"""
    latencies = latencies_ms(requests, tokens, ("p50", "p99"))
    return {
        f"{name.lower()}_{statistic}_ms": value
        for name, statistics in latencies.items()
        for statistic, value in statistics.items()
        if not isnan(value)
    }


def _over_time(requests: pd.DataFrame, tokens: pd.DataFrame | None) -> dict[str, Any]:
    served = requests[requests["status"] == "ok"].sort_values("arrival_time_ns")
    shown: dict[str, Any] = {
        "ttft_over_time": sparkline(_ms(served["ttft_ns"]), "TTFT by arrival"),
        "requests_failed": len(requests) - len(served),
    }
    if tokens is not None and len(tokens):
        later = tokens.dropna(subset=["token_latency_ns"]).sort_values("token_time_ns")
        shown["itl_over_time"] = sparkline(_ms(later["token_latency_ns"]), "time between tokens")
        seconds = float(tokens["token_time_ns"].max()) / 1e9
        shown["output_tokens_per_s"] = len(tokens) / seconds if seconds else 0.0
    return shown


def _ms(values: pd.Series) -> list[float]:
    return list(values.astype("float64") / 1e6)

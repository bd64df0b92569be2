"""What a person wants to see of a workload on Dagster's page."""

from pathlib import Path
from typing import Any

import dagster as dg

from gpu_timing_assets.core.tables.invariants import read_workload_tables
from gpu_timing_assets.core.workload import WorkloadMeta
from gpu_timing_assets.dagster_app.descriptions.sparkline import histogram, sparkline
from gpu_timing_assets.dagster_app.execution.stage import StageClock
from gpu_timing_assets.dagster_app.out_of_date import PRESET_SHA256, preset_sha256


def describe_workload(meta: WorkloadMeta, directory: Path, clock: StageClock) -> dict[str, Any]:
    lengths, intervals = read_workload_tables(directory)
    prompt, output = lengths["num_prefill_tokens"].tolist(), lengths["num_decode_tokens"].tolist()
    seconds = meta.duration_ns / 1e9
    arrivals = histogram(intervals["arrival_time_ns"].tolist())
    prompt_caption = f"prompt tokens, {min(prompt)} to {max(prompt)}"
    output_caption = f"output tokens, {min(output)} to {max(output)}"
    return {
        "arrivals": sparkline(arrivals, f"arrivals over {seconds:.1f} s"),
        "prompt_lengths": sparkline(histogram(prompt), prompt_caption),
        "output_lengths": sparkline(histogram(output), output_caption),
        "requests": meta.num_requests,
        "prompt_tokens": meta.num_prefill_tokens,
        "output_tokens": meta.num_decode_tokens,
        "duration_s": round(seconds, 3),
        "requests_per_s": round(meta.num_requests / seconds, 3) if seconds else 0.0,
        "workload_sha256": meta.workload_sha256,
        "tokenizer": meta.tokenizer.name,
        "seed": meta.seed,
        PRESET_SHA256: preset_sha256(meta.workload_id),
        "directory": dg.MetadataValue.path(directory),
        "stage_seconds": clock.seconds,
    }

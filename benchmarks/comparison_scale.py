"""Time and memory of a comparison of a million tokens on each side, on one core.

Run it with the project's Python: `python benchmarks/comparison_scale.py [--tokens N] [--real-runs
K] [--out DIRECTORY]`. It makes synthetic runs (seeded), compares them, and prints what it took and
how large the report is. The bounds it is held to: under 60 s, under 2 GiB, under 5 MiB of HTML.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from gpu_timing_assets.compare.judge.bootstrap import error_intervals
from gpu_timing_assets.config.comparison import ComparisonPreset
from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.comparison import ComparisonInputs
from gpu_timing_assets.core.data_root import REFERENCE_DATA
from gpu_timing_assets.core.files import write_json
from gpu_timing_assets.core.manifest import write_manifest
from gpu_timing_assets.core.run import (
    RUN_META_FILE,
    RealRunMeta,
    RunMeta,
    SimRunMeta,
    read_complete_run,
)
from gpu_timing_assets.core.tables.run_tables import run_tables_from_token_times
from gpu_timing_assets.core.tables.schemas import (
    ENGINE_BATCHES,
    ENGINE_STEPS,
    REQUEST_METRICS,
    TOKEN_METRICS,
)

TOKENS_PER_REQUEST = 200
STEP_NS = 8_000_000


def write_run(directory: Path, run_type: str, requests: int, seed: int, scale: float) -> None:
    """A run of `requests` × 200 tokens with jittered steps; the workload is the same for every
    seed.
    """
    workload, jitter = np.random.default_rng(1), np.random.default_rng(seed)
    tokens = workload.integers(100, 2 * TOKENS_PER_REQUEST - 100, requests)
    arrival = np.cumsum(workload.exponential(STEP_NS * 8, requests)).astype(np.int64)
    prompts = workload.integers(16, 1024, requests)
    owner = np.repeat(np.arange(requests), tokens)
    first = np.cumsum(tokens) - tokens
    gaps = jitter.gamma(20, STEP_NS * scale / 20, len(owner))
    gaps[first] = 2 * STEP_NS + jitter.gamma(4, 3 * STEP_NS * scale / 4, requests)
    times = np.cumsum(gaps)
    times = arrival[owner] + (times - np.repeat(times[first] - gaps[first], tokens)).astype(
        np.int64
    )
    lengths = pd.DataFrame(
        {
            "request_id": np.arange(requests),
            "num_prefill_tokens": prompts,
            "num_decode_tokens": tokens,
        }
    )
    request_table, token_table = run_tables_from_token_times(lengths, arrival, owner, times)
    directory.mkdir(parents=True)
    REQUEST_METRICS.write(request_table, directory)
    TOKEN_METRICS.write(token_table, directory)
    step = ((times - times.min()) // STEP_NS).astype(np.int64)
    batches = pd.DataFrame(
        {
            "step": step,
            "request_id": owner,
            "num_scheduled_tokens": 1,
            "num_computed_tokens": token_table["token_index"] + prompts[owner] - 1,
        }
    ).drop_duplicates(["step", "request_id"], keep="last")
    ENGINE_BATCHES.write(batches.sort_values(["step", "request_id"]), directory)
    sizes = batches.groupby("step").size()
    begin = times.min() + (sizes.index.to_numpy() - 1) * STEP_NS
    ENGINE_STEPS.write(
        pd.DataFrame(
            {
                "step": sizes.index,
                "schedule_begin_ns": begin,
                "schedule_end_ns": begin + 100_000,
                "result_ns": begin + STEP_NS,
                "num_prefill_tokens": 0,
                "num_prefill_requests": 0,
                "num_decode_requests": sizes.to_numpy(),
                "kv_tokens": 0,
                "graph_mode": "full",
            }
        ),
        directory,
    )
    write_json(directory / RUN_META_FILE, metadata(directory.name, run_type, request_table))
    write_manifest(directory)


def metadata(run_id: str, run_type: str, requests: pd.DataFrame) -> RealRunMeta | SimRunMeta:
    """That of a measured run, under the synthetic one's name and with its counts."""
    measured = min(REFERENCE_DATA.glob("*/real_runs/*"))
    num_tokens = int(requests["num_decode_tokens_actual"].sum())
    counts = {"num_requests": len(requests), "num_failed": 0, "num_tokens": num_tokens}
    real = read_complete_run(measured, RealRunMeta)
    real = real.model_copy(update={"run_id": run_id, **counts})
    if run_type == "real":
        return real
    shared = real.model_dump(include=RunMeta.model_fields.keys() - {"run_type", "schema_version"})
    return SimRunMeta(
        **shared,
        workload_id=real.workload_id,
        workload_sha256=real.workload_sha256,
        params=real.params,
        simulator="vidur",
        predictor="engine_loop",
        wall_s=0.0,
        simulated_s=float(requests["completion_time_ns"].max()) / 1e9,
        num_tokens=num_tokens,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--real-runs", type=int, default=1)
    parser.add_argument("--out", type=Path, help="keep the runs and the report here")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as scratch:
        root = arguments.out or Path(scratch)
        requests = arguments.tokens // TOKENS_PER_REQUEST
        real = tuple(root / "real_runs" / f"real-{k}" for k in range(arguments.real_runs))
        simulated = root / "vidur_runs" / "simulated"
        child = os.fork()  # so that making the runs is not in the comparison's memory
        if child == 0:
            for k, directory in enumerate(real):
                write_run(directory, "real", requests, seed=10 + k, scale=1.0)
            write_run(simulated, "simulated", requests, seed=99, scale=1.03)
            os._exit(0)
        if os.waitpid(child, 0)[1] != 0:
            return 1
        return measure(ComparisonInputs(real, (simulated,)), root / "comparisons" / "scale")


def measure(inputs: ComparisonInputs, out: Path) -> int:
    from gpu_timing_assets.compare import run
    from gpu_timing_assets.compare.gate.align import align
    from gpu_timing_assets.compare.gate.load import load_run, read_metas
    from gpu_timing_assets.metrics.metric import Objective
    from gpu_timing_assets.metrics.registry import all_metrics

    config = ExperimentConfig.model_construct(comparison=ComparisonPreset())
    begun = time.perf_counter()
    result = run(config, inputs, out)
    took = time.perf_counter() - begun
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    size = result.report.stat().st_size / 2**20
    real, simulated = read_metas(inputs, allow_invalid=False)
    aligned = align(
        [
            load_run(path, meta, meta.run_id)
            for path, meta in zip(inputs.real_run_dirs, real, strict=True)
        ],
        [
            load_run(path, meta, meta.label)
            for path, meta in zip(inputs.sim_run_dirs, simulated, strict=True)
        ],
    )
    begun = time.perf_counter()
    error_intervals(aligned, all_metrics(), Objective(200, 50), config.comparison)
    bootstrap = time.perf_counter() - begun
    tokens = int(aligned.grid.tokens.sum())
    print(
        f"{len(inputs.real_run_dirs)} real runs against 1 simulation, {len(aligned.grid):,} "
        f"requests, "
        f"{tokens:,} tokens in each"
    )
    print(
        f"comparison and report: {took:.1f} s (of it intervals: {bootstrap:.1f} s), {memory:.2f} "
        f"GiB at most"
    )
    print(f"report.html: {size:.2f} MiB")
    within = took < 60 and memory < 2 and size < 5
    print("within 60 s, 2 GiB and 5 MiB" if within else "NOT within 60 s, 2 GiB and 5 MiB")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())

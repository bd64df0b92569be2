"""Replays the smoke workload on a real engine and checks what it wrote. Needs: a CPU (about a
minute), or the GPU named.

Run it as a script (`python gpu_timing_assets_tests/manual/test_real_bench_smoke.py [key=value …]`,
Hydra overrides choose the target: `hardware=h100 backend=vllm model=qwen3-0.6b`), which keeps the
runs in a temporary directory and says where; or by pytest, on the CPU.
"""

import sys
import tempfile
from pathlib import Path

from gpu_timing_assets import workload
from gpu_timing_assets.config.experiment import compose
from gpu_timing_assets.core.run import RealRunMeta, read_complete_run
from gpu_timing_assets.core.tables.invariants import read_run_tables
from gpu_timing_assets.core.tables.schemas import ENGINE_BATCHES, ENGINE_STEPS
from gpu_timing_assets.engines.base import engine_plugin
from gpu_timing_assets.measure import real_bench


def replay_smoke(overrides: list[str], data_root: Path) -> tuple[Path, ...]:
    """The directories of the runs, which are whole, on time and have their steps recorded."""
    config = compose(["workload=smoke", f"data_root={data_root}", *overrides])
    directory = config.data.workload_dir(config.workload.workload_id)
    workload.run(config, directory)
    result = real_bench.run(
        config, real_bench.RealBenchInputs((directory,)), data_root / "real_runs"
    )
    for run_dir in result.run_dirs:
        meta = read_complete_run(run_dir, RealRunMeta)
        requests, tokens = read_run_tables(run_dir)
        assert (requests["num_decode_tokens_actual"] == requests["num_decode_tokens"]).all()
        if engine_plugin(config.backend.name).records_steps:
            steps, batches = ENGINE_STEPS.read(run_dir), ENGINE_BATCHES.read(run_dir)
            assert set(batches["step"]) == set(steps["step"])
            # the engine computes every prompt token once, and all but the last output token
            assert batches["num_scheduled_tokens"].sum() == requests[
                "num_prefill_tokens"
            ].sum() + len(tokens) - len(requests)
        print(
            f"{run_dir}: TTFT p50 {meta.ttft_ms.p50} ms, ITL p50 {meta.itl_ms.p50} ms, submitted "
            f"at most {meta.submission_lateness_ms.max} ms late"
        )
    return result.run_dirs


def test_the_real_engine_serves_the_smoke_workload(tmp_path: Path) -> None:
    assert len(replay_smoke([], tmp_path)) == 2


if __name__ == "__main__":
    replay_smoke(sys.argv[1:], Path(tempfile.mkdtemp()))

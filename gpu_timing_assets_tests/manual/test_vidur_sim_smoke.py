"""Simulates a workload on the shipped H100 bundle with each predictor. Needs: a CPU;
`random_forest` trains for minutes.

Run it as a script (`python gpu_timing_assets_tests/manual/test_vidur_sim_smoke.py [key=value …]`),
which keeps the runs in a temporary directory and says where; or by pytest, which leaves out
`random_forest`.
"""

import sys
import tempfile
from pathlib import Path

import pytest

from gpu_timing_assets import simulators, workload
from gpu_timing_assets.config.experiment import compose
from gpu_timing_assets.core.data_root import REFERENCE_DATA
from gpu_timing_assets.core.tables.invariants import read_run_tables

TARGET = (
    "workload=mix_rate_10",
    "model=qwen3-0.6b",
    "hardware=h100",
    "backend=vllm",
    "profiling=standard",
)


def simulate(predictor: str, overrides: list[str], data_root: Path) -> Path:
    config = compose([*TARGET, f"data_root={data_root}", *overrides, f"simulator={predictor}"])
    bundle = (
        REFERENCE_DATA
        / config.hardware.name
        / "vidur_profiling"
        / config.hardware.name
        / config.model.name
    )
    directory = config.data.workload_dir(config.workload.workload_id)
    workload.run(config, directory)
    out = config.data.sim_run_dir(config.sim_run_id)
    meta = simulators.run(config, simulators.SimInputs(directory, bundle), out)
    requests, tokens = read_run_tables(out)
    assert (requests["num_decode_tokens_actual"] == requests["num_decode_tokens"]).all()
    ttft_ms, itl_ms = requests["ttft_ns"].median() / 1e6, tokens["token_latency_ns"].median() / 1e6
    print(
        f"{predictor:13} TTFT p50 {ttft_ms:7.2f} ms, ITL p50 {itl_ms:6.3f} ms, "
        f"{meta.simulated_s:.0f} s in {meta.wall_s:.1f} s: {out}"
    )
    return out


@pytest.mark.parametrize("predictor", ["kernels_only", "engine_loop"])
def test_the_shipped_bundle_can_be_simulated(predictor: str, tmp_path: Path) -> None:
    if not any(REFERENCE_DATA.glob("h100/*")):
        pytest.skip("no reference data is in this checkout")
    simulate(predictor, [], tmp_path)


if __name__ == "__main__":
    root = Path(tempfile.mkdtemp())
    for name in ("random_forest", "kernels_only", "engine_loop"):
        simulate(name, sys.argv[1:], root)

"""How far apart two bundles' predictions of the same real runs lie: what measuring the model again,
on this or another day or machine of the same kind, changes in what is predicted.

    python benchmarks/two_bundles.py BUNDLE OTHER --hardware h100 --model qwen3-0.6b [--draws 3]

The work is that of the reference runs of this target (or of `--real-runs DIR`). Each bundle
simulates it with `engine_loop`, at its profiled host speed and at the speed of the last real run's
probe, and the figures are the means of `--draws` seeds. Prints the second's difference from the
first in per cent. Needs no GPU; about ten seconds a workload and draw.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gpu_timing_assets import simulators, workload
from gpu_timing_assets.config.experiment import compose
from gpu_timing_assets.core.data_root import REFERENCE_DATA
from gpu_timing_assets.core.run import RealRunMeta, read_complete_run
from gpu_timing_assets.core.tables.invariants import read_run_tables


def last_repeats(real_runs: Path, hardware: str, model: str, devices: int) -> dict[str, Path]:
    """The last complete real run of each workload of the target."""
    found = {}
    for meta_file in sorted(real_runs.glob("*/run_meta.json")):
        meta = read_complete_run(meta_file.parent, RealRunMeta)
        target = (meta.hardware, meta.model, meta.params.tensor_parallel_size)
        if target == (hardware, model, devices):
            found[str(meta.workload_id)] = meta_file.parent
    return found


def predicted_ms(
    bundle: Path, real_run: Path, overrides: Sequence[str], scratch: Path
) -> tuple[float, float]:
    """The mean TPOT and the median TTFT of one simulation."""
    config = compose([*overrides, f"data_root={scratch}"])
    directory = config.data.workload_dir(config.workload.workload_id)
    if not directory.exists():
        workload.run(config, directory)
    out = config.data.sim_run_dir(config.sim_run_id)
    simulators.run(config, simulators.SimInputs(directory, bundle, real_run), out)
    requests, _ = read_run_tables(out)
    between_ns = requests["completion_time_ns"] - requests["first_token_time_ns"]
    several = requests["num_decode_tokens_actual"] > 1
    tpot_ns = (between_ns / (requests["num_decode_tokens_actual"] - 1))[several]
    return float(tpot_ns.mean()) / 1e6, float(requests["ttft_ns"].median()) / 1e6


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("--hardware", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--real-runs", type=Path, help="default: the reference's, of this GPU")
    parser.add_argument("--draws", type=int, default=3)
    chosen = parser.parse_args(words)
    real_runs = chosen.real_runs or REFERENCE_DATA / chosen.hardware / "real_runs"
    print("| workload | host speed | TPOT mean, % | TTFT p50, % |\n| --- | --- | ---: | ---: |")
    runs = last_repeats(real_runs, chosen.hardware, chosen.model, chosen.devices)
    for workload_id, real_run in runs.items():
        for host_speed in ("profiled", "probed"):
            with tempfile.TemporaryDirectory() as scratch:
                means = [
                    [
                        predicted_ms(
                            bundle,
                            real_run,
                            [
                                f"workload={workload_id}",
                                f"hardware={chosen.hardware}",
                                f"model={chosen.model}",
                                "backend=vllm",
                                f"backend.tensor_parallel_size={chosen.devices}",
                                "simulator.max_extrapolation=2",
                                f"simulator.host_speed={host_speed}",
                                f"simulator.seed={seed}",
                            ],
                            Path(scratch),
                        )
                        for seed in range(chosen.draws)
                    ]
                    for bundle in (chosen.bundle, chosen.other)
                ]
            first, second = (map(statistics.fmean, zip(*draws, strict=True)) for draws in means)
            cells = [
                f"{100 * (new / old - 1):+.1f}" for old, new in zip(first, second, strict=True)
            ]
            print(f"| {workload_id} | {host_speed} | {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What recording the engine's steps costs, or observing when they ran (`--setting observe_steps`):
the real CPU engine with the setting on and off, alternating.

`python benchmarks/recording_cost.py [--setting observe_steps] [--repeats 3] [key=value …]`

Takes about a minute a repeat on two cores. Overrides choose another target (`hardware=h100
backend=vllm model=qwen3-0.6b`). Prints the ratio of the ITL's median, on over off, and beside it
what recording cost on an H100 (measured, and ships).
"""

import argparse
import itertools
import statistics
import tempfile
from pathlib import Path

from gpu_timing_assets import workload
from gpu_timing_assets.config.experiment import compose
from gpu_timing_assets.core.data_root import REFERENCE_DATA
from gpu_timing_assets.core.files import read_json
from gpu_timing_assets.core.run import RealRunMeta, read_complete_run
from gpu_timing_assets.core.tables.invariants import read_run_tables
from gpu_timing_assets.measure import real_bench

SETTINGS = ("record_steps", "observe_steps")


def itl_p50_ms(data_root: Path, overrides: list[str], setting: str, *, on: bool) -> list[float]:
    """The median ITL of each replay of one engine start, its `setting` on or off."""
    config = compose(
        [
            "workload=chat_poisson",
            f"data_root={data_root}",
            f"backend.{setting}={str(on).lower()}",
            # the probe of the host needs the recording
            "backend.probe_host=false",
            "hardware.max_lateness_p99_ms=1000",
            *overrides,
        ]
    )
    directory = config.data.workload_dir(config.workload.workload_id)
    if not directory.exists():
        workload.run(config, directory)
    result = real_bench.run(
        config, real_bench.RealBenchInputs((directory,)), data_root / "real_runs"
    )
    return [
        float(read_run_tables(run)[1]["token_latency_ns"].median()) / 1e6 for run in result.run_dirs
    ]


def reference_rows() -> list[str]:
    """Workloads of the reference data that were replayed both with and without a recording, on the
    same target.
    """
    found: dict[tuple[str, str], dict[bool, list[float]]] = {}
    for path in sorted(REFERENCE_DATA.glob("*/recording_cost/*/*/run_meta.json")):
        meta = read_complete_run(path.parent, RealRunMeta)
        recorded = bool(read_json(path.parent / "config.json")["backend"]["record_steps"])
        runs = found.setdefault((meta.model, meta.workload_id), {})
        runs.setdefault(recorded, []).append(meta.itl_ms.p50)
    both = {key: runs for key, runs in found.items() if len(runs) == 2}
    medians = {
        key: (statistics.median(runs[True]), statistics.median(runs[False]))
        for key, runs in both.items()
    }
    return [
        f"{model} {name}: {on / off:.3f} ({off:.3f} ms without)"
        for (model, name), (on, off) in medians.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3, help="engine starts with and without")
    parser.add_argument("--setting", choices=SETTINGS, default=SETTINGS[0])
    asked, overrides = parser.parse_known_args()
    times: dict[bool, list[float]] = {True: [], False: []}
    ratios = []
    with tempfile.TemporaryDirectory() as root:
        for _, on in itertools.product(range(asked.repeats), (False, True)):
            times[on].append(
                statistics.median(itl_p50_ms(Path(root), overrides, asked.setting, on=on))
            )
            if on:
                ratios.append(times[True][-1] / times[False][-1])
    without, with_it = statistics.median(times[False]), statistics.median(times[True])
    print(
        f"ITL p50 without {asked.setting} {without:.3f} ms, with it {with_it:.3f} ms; "
        f"ratio of pairs {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    )
    if asked.setting == "record_steps":
        print("\n".join(["recording, measured on a GPU:", *reference_rows()]))


if __name__ == "__main__":
    main()

"""A million requests: how long they take to generate and to read back on one core, and in how much
memory.

`python benchmarks/workload_scale.py [REQUESTS]` prints the figures and exits with 1 if a bound is
broken.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MAX_GENERATE_S, MAX_READ_S, MAX_MEMORY_GIB = 30.0, 10.0, 1.0

GENERATE = """
from gpu_timing_assets import workload
from gpu_timing_assets.config.experiment import compose
config = compose(["workload=mix_rate_60", "workload.workload_id=million",
                   "workload.arrivals.rate_per_s=1000",
                  "workload.duration_s=null", "+workload.num_requests={requests}",
                   "data_root={root}"])
workload.run(config, config.data.workload_dir("million"))
"""
READ = """
from pathlib import Path
from gpu_timing_assets.core.workload import read_complete_workload
from gpu_timing_assets.core.prompts import WorkloadPrompts
from gpu_timing_assets.core.tables.invariants import read_workload_tables
directory = Path("{root}/workloads/million")
read_complete_workload(directory)
lengths, intervals = read_workload_tables(directory)
prompts = WorkloadPrompts(directory)
assert len(prompts) == len(lengths) == len(intervals) == {requests}
assert len(prompts[-1]) == lengths["num_prefill_tokens"].iloc[-1]
"""


def measure(script: str) -> tuple[float, float]:
    """Seconds and peak GiB of a fresh interpreter that runs `script` on one core."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    started = time.perf_counter()
    # the memory is the child's own: this process has run no other one that was larger
    code = (
        f"import os; os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})\n{script}\n"
        "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    return time.perf_counter() - started, int(done.stdout.split()[-1]) / 2**20


def main() -> None:
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    failed = False
    with tempfile.TemporaryDirectory() as root:
        for what, script, bound in (
            ("generate", GENERATE, MAX_GENERATE_S),
            ("read", READ, MAX_READ_S),
        ):
            seconds, memory = measure(script.format(requests=requests, root=root))
            failed |= seconds > bound or memory > MAX_MEMORY_GIB
            print(
                f"{what:8} {requests:>9,} requests: {seconds:5.1f} s (at most {bound:g}), "
                f"{memory:.2f} GiB "
                f"(at most {MAX_MEMORY_GIB:g})"
            )
        size = sum(path.stat().st_size for path in Path(root, "workloads", "million").iterdir())
        print(f"on disk  {size / 2**20:.0f} MiB")
    sys.exit(failed)


if __name__ == "__main__":
    main()

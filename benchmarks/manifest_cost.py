"""What the manifests cost: the time that hashing takes of one case of `make reference`.

    python benchmarks/manifest_cost.py [WORKLOAD]

What is shipped is hashed once in a process, what is made here when it is filed and when it is read.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from gpu_timing_assets.core.data_root import DATA_ROOT_VARIABLE
from gpu_timing_assets.core.manifest import write_manifest
from gpu_timing_assets.reference import find_cases, run_case


def main() -> None:
    named = sys.argv[1] if len(sys.argv) > 1 else None
    case = next(case for case in find_cases() if named in (None, case.workload_id))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "data")
        os.environ[DATA_ROOT_VARIABLE] = str(root)
        whole_s = cpu_s(lambda: run_case(case))
        read_s = hashing_s([*case.real_run_dirs, case.profiling_root], Path(folder, "read"))
        made = [directory for kind in root.glob("[!.]*") for directory in kind.glob("[!.]*")]
        made_s = hashing_s(made, Path(folder, "made"))
    share_pct = 100 * (read_s + 2 * made_s) / whole_s
    print(f"{case.target} {case.workload_id}: {whole_s:.1f} s on the CPU, of which hashing what is")
    print(f"shipped {read_s:.2f} s, what is made twice {made_s:.2f} s: {share_pct:.2f} %")


def hashing_s(directories: Iterable[Path], scratch: Path) -> float:
    """Of copies, of which nothing is known yet."""
    copies = [
        Path(shutil.copytree(directory, scratch / str(number)))
        for number, directory in enumerate(directories)
    ]
    return cpu_s(lambda: [write_manifest(copy) for copy in copies])


def cpu_s(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


if __name__ == "__main__":
    main()

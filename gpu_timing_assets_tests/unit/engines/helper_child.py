"""A child as the engine's process is one: does what its request says. Run by
`run_engine_process`.
"""

import errno
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.engines.child_process import FAILURE_FILE, engine_process_main


def work(request: dict[str, Any], scratch: Path, report: Callable[[str], None]) -> None:
    grandchild = subprocess.Popen(["sleep", "600"])
    (scratch / "pids.json").write_text(json.dumps([os.getpid(), grandchild.pid]))
    report(f"told to {request['do']}")
    if request["do"] == "fail":
        raise WorkloadError("row 7 is wrong: mend it")
    if request["do"] == "crash":
        raise ZeroDivisionError("in the engine")
    if request["do"].startswith("end by "):
        os.kill(os.getpid(), int(request["do"].removeprefix("end by ")))
    if request["do"] == "fill the disk of its scratch directory":
        (scratch / FAILURE_FILE).symlink_to("/dev/full")
    if request["do"].startswith("fill the disk"):
        # what the full disk leads to elsewhere need not say so
        raise (
            OSError(errno.ENOSPC, "No space left on device")
            if request["do"] == "fill the disk"
            else RuntimeError("engine died")
        )
    if request["do"] == "exit":
        os._exit(3)
    if request["do"] == "wait":
        time.sleep(600)
    (scratch / "result.txt").write_text("done")


if __name__ == "__main__":
    engine_process_main(work)

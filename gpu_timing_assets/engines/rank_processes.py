"""The processes that share one model, one a rank: they end together, none outlives its owner."""

import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpu_timing_assets.core.errors import EngineError, GpuTimingError
from gpu_timing_assets.engines.base import Rank
from gpu_timing_assets.engines.child_process import (
    FAILURE_FILE,
    PIPES_VARIABLE,
    engine_command,
    fault_of_child,
)

POLL_INTERVAL_S = 0.1


def run_rank_processes(
    module: str, request: Mapping[str, Any], scratch: Path, count: int, timeout_s: float
) -> Path:
    """Run `python -m module <request file>` for each of `count` ranks, with the `rank` (a `Rank`)
    in its request and a directory below `scratch` for it; returns the directory of rank 0.

    The children call `child_process.engine_process_main`. Raises the fault of the rank that failed
    first, named, or `EngineError` naming those that had not ended after `timeout_s`; whatever
    happens, no rank is left behind.
    """
    meeting_point = f"tcp://127.0.0.1:{_free_port()}"
    directories = [scratch / f"rank-{index}" for index in range(count)]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for index, directory in enumerate(directories):
            directory.mkdir(parents=True, exist_ok=True)
            rank = {"index": index, "count": count, "meeting_point": meeting_point}
            command, env = engine_command(module, {**request, "rank": rank}, directory)
            # the pipes are the owner's
            env.pop(PIPES_VARIABLE, None)
            processes.append(subprocess.Popen(command, env=env))
        _wait(processes, directories, timeout_s)
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
    return directories[0]


def rank_of(request: Mapping[str, Any]) -> Rank:
    """The rank of a child of `run_rank_processes`, from its request."""
    return Rank(**request["rank"])


def _wait(
    processes: Sequence["subprocess.Popen[bytes]"], directories: Sequence[Path], timeout_s: float
) -> None:
    """Until all have ended well; raises as `run_rank_processes`."""
    deadline = time.monotonic() + timeout_s
    while True:
        codes = [process.poll() for process in processes]
        if failed := [rank for rank, code in enumerate(codes) if code]:
            first = min(failed, key=lambda rank: _failed_at(directories[rank]))
            raise _named(fault_of_child(codes[first] or 0, directories[first]), first, len(codes))
        late = [str(rank) for rank, code in enumerate(codes) if code is None]
        if not late:
            return
        if time.monotonic() > deadline:
            raise EngineError(
                f"rank {' and '.join(late)} of {len(codes)} had not ended after {timeout_s:.0f} s: "
                "see the log above; backend.start_timeout_s allows more"
            )
        time.sleep(POLL_INTERVAL_S)


def _failed_at(directory: Path) -> float:
    """When a rank wrote its failure; 0 of one that could not, since the others fail of it."""
    file = directory / FAILURE_FILE
    return file.stat().st_mtime if file.is_file() else 0.0


def _named(fault: GpuTimingError | None, rank: int, count: int) -> GpuTimingError:
    assert fault is not None
    return type(fault)(f"rank {rank} of {count}: {fault}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""Where the engine's process and the stage meet on disk: one scratch directory a session."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpu_timing_assets.core.directories import SCRATCH_PREFIX
from gpu_timing_assets.core.files import Metadata
from gpu_timing_assets.core.host_probe import HostProbe
from gpu_timing_assets.core.locks import exclusive_lock, lock_of

REPLAY_FILE = "replay.json"


class ReplayFacts(Metadata):
    """What the engine's process says of one replay beside its tables (`replay.json`)."""

    started_at: str
    ended_at: str
    replay_s: float
    client_cpu_share: float
    probe_before: HostProbe | None = None
    probe_after: HostProbe | None = None


def replay_dir(scratch: Path, workload_id: str, repeat: int) -> Path:
    return scratch / "replays" / workload_id / str(repeat)


@contextmanager
def session_scratch(out: Path, session: str) -> Iterator[Path]:
    """A scratch directory for one session, gone when the block ends; those that killed sessions
    left are removed first.

    A session holds an `flock` on its directory, which the kernel releases when it dies.
    """
    out.mkdir(parents=True, exist_ok=True)
    scratch = out / f"{SCRATCH_PREFIX}session-{session}"
    # another session may have made its directory and not locked it yet
    with exclusive_lock(lock_of(out / "sessions"), str(out), timeout_s=60):
        for left in out.glob(f"{SCRATCH_PREFIX}session-*"):
            if (lock := _locked(left)) is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(lock)
        scratch.mkdir()
        held = _locked(scratch)
        assert held is not None
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        os.close(held)


def _locked(directory: Path) -> int | None:
    """The descriptor that holds the lock on `directory`, None if a living process has it."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor

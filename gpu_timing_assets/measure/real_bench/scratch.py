"""Where the engine's process and the stage meet on disk: one scratch directory a session."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from gpu_timing_assets.core.directories import SCRATCH_PREFIX
from gpu_timing_assets.core.errors import BusyError
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

    A session holds its directory's lock, which the kernel releases when it dies.
    """
    out.mkdir(parents=True, exist_ok=True)
    scratch = out / f"{SCRATCH_PREFIX}session-{session}"
    with ExitStack() as held:
        # another session may have made its directory and not locked it yet
        with exclusive_lock(lock_of(out / "sessions"), str(out), timeout_s=60):
            for left in out.glob(f"{SCRATCH_PREFIX}session-*"):
                # a living session's is busy
                with suppress(BusyError), exclusive_lock(lock_of(left), str(left)):
                    shutil.rmtree(left, ignore_errors=True)
                    lock_of(left).unlink(missing_ok=True)
            held.enter_context(exclusive_lock(lock_of(scratch), str(scratch)))
            scratch.mkdir()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            lock_of(scratch).unlink(missing_ok=True)

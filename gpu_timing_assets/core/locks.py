"""Files that one process at a time holds; the kernel releases them when it dies."""

import errno
import fcntl
import os
import platform
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gpu_timing_assets.core.data_root import default_data_root
from gpu_timing_assets.core.errors import ArtifactError, BusyError
from gpu_timing_assets.core.machine import command_of

LOCKS_DIR = ".locks"
# a folder for all users or containers that share a device
LOCKS_VARIABLE = "GPU_TIMING_LOCKS"
# the folder that a Linux machine has for all its users' locks
MACHINE_LOCKS = Path("/run/lock")


def lock_of(directory: Path) -> Path:
    """The lock file of who writes `directory`: beside it, so that all who see it share the lock."""
    return directory.parent / LOCKS_DIR / directory.name


def lock_of_device(name: str) -> Path:
    """The lock file of a device of this machine: in `$GPU_TIMING_LOCKS`, else where all users of
    the machine have theirs (`/run/lock`, if it is root's and sticky), in the user's runtime folder
    or, without one, in the data root, where another machine that shares it has files of its own.
    """
    if shared := os.environ.get(LOCKS_VARIABLE):
        return Path(shared, f"device-{name}")
    if _is_for_all(MACHINE_LOCKS):
        return MACHINE_LOCKS / f"gpu-timing-device-{name}"
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    if runtime.is_dir() and runtime.stat().st_uid == os.getuid():
        return runtime / "gpu-timing-locks" / f"device-{name}"
    return default_data_root() / LOCKS_DIR / f"device-{platform.node()}-{name}"


@contextmanager
def exclusive_lock(
    path: Path, what: str, *, timeout_s: float = 0.0, report: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold an `flock` on `path` for the block; the kernel releases it when the process dies.

    Waits up to `timeout_s` for another process that holds it, and `report`s for whom. Raises
    `BusyError` after that, and for a lock file of another user that this one may not write;
    `ArtifactError` if a link is in its place.
    """
    descriptor = _open_lock(path)
    try:
        deadline, reported = time.monotonic() + timeout_s, ""
        while not _locked(descriptor):
            holder = lock_holder(path) or "another process"
            if time.monotonic() >= deadline:
                waited = f", after {timeout_s:.0f} s of waiting" if timeout_s else ""
                raise BusyError(f"{what} is in use by {holder}{waited}: wait for it or end it")
            if report and holder != reported:
                report(f"{what} is in use by {holder}: waiting up to {timeout_s:.0f} s for it")
                reported = holder
            time.sleep(0.2)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def lock_holder(path: Path) -> str | None:
    """Who holds the lock on `path`: `another process (pid 17: python -m …)`; None if nobody."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if _locked(descriptor):
            return None
        pid = os.pread(descriptor, 64, 0).decode(errors="replace").strip()
    finally:
        os.close(descriptor)
    command = command_of(int(pid)) if pid.isdigit() else None
    return f"another process (pid {pid or 'unknown'}{f': {command}' if command else ''})"


def _locked(descriptor: int) -> bool:
    """Whether the lock could be taken: it is then held until the descriptor is closed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_for_all(folder: Path) -> bool:
    """Whether any user may make files there, and nobody but root may take away another's."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    everyones = stat.S_ISVTX | stat.S_IWOTH
    return (
        stat.S_ISDIR(status.st_mode)
        and status.st_uid == 0
        and status.st_mode & everyones == everyones
    )


def _open_lock(path: Path) -> int:
    """Open or make a lock file, never a link's: readable and writable as the umask has it, or by
    all where the folder is for all.
    """
    if path.parent.is_symlink():
        raise ArtifactError(f"{path.parent} is a link, and lock files lie behind none: remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = _open_or_make(path)
    except PermissionError:
        raise BusyError(
            f"{path} belongs to another user and cannot be locked: have it made writable for you, "
            "or use a data root of your own"
        ) from None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise ArtifactError(f"{path} is a link, and a lock file is none: remove it") from None
    status = os.fstat(descriptor)
    # the pid is written into it: it must be nothing of somebody's that another put here
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise ArtifactError(f"{path} is no file of its own, as a lock file is: remove it")
    return descriptor


def _open_or_make(path: Path) -> int:
    try:
        # in a sticky folder Linux lets nobody open another's file with O_CREAT
        # (fs.protected_regular)
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    if _is_for_all(path.parent):
        os.fchmod(descriptor, 0o666)  # whatever the umask of who came first
    return descriptor

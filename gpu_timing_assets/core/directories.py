"""Directories that appear only when they are whole, and are written by one process at a time."""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gpu_timing_assets.core.errors import BusyError
from gpu_timing_assets.core.machine import command_of

SCRATCH_PREFIX = ".unfinished-"
LOCK_PREFIX = ".lock-"


@contextmanager
def exclusive_lock(
    path: Path, what: str, *, timeout_s: float = 0.0, report: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold an `flock` on `path` for the block; the kernel releases it when the process dies.

    Waits up to `timeout_s` for another process that holds it, and `report`s for whom. Raises
    `BusyError` after that.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
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
        descriptor = os.open(path, os.O_RDONLY)
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


def _open_lock(path: Path) -> int:
    """Open or make a lock file for every user of the machine: a device has one lock for all."""
    try:
        # without O_CREAT: in a sticky directory the kernel refuses that for another user's file
        return os.open(path, os.O_RDWR)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        with suppress(PermissionError):
            os.fchmod(descriptor, 0o666)
        return descriptor
    except PermissionError:
        raise BusyError(
            f"{path} belongs to another user and cannot be locked: have it made writable for all"
        ) from None


@contextmanager
def atomic_directory(target: Path, *, replace: bool = True) -> Iterator[Path]:
    """Yield a scratch directory beside `target` that takes its name when the block ends without an
    error.

    On an error the scratch directory is removed and `target` is as it was. A scratch directory that
    a killed process left behind is removed by the next writer of the same target.

    Raises `BusyError` if another process is writing the same target, `FileExistsError` if `target`
    exists and `replace` is false.
    """
    scratch = target.parent / f"{SCRATCH_PREFIX}{target.name}"
    with exclusive_lock(target.parent / f"{LOCK_PREFIX}{target.name}", str(target)):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            yield scratch
            if target.exists():
                if not replace:
                    raise FileExistsError(f"{target} exists already")
                retired = target.parent / f"{SCRATCH_PREFIX}{target.name}.replaced"
                shutil.rmtree(retired, ignore_errors=True)
                target.rename(retired)
                scratch.rename(target)
                shutil.rmtree(retired)
            else:
                scratch.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

"""Directories that appear under their name only when they are whole, and are written by one process at a time."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gpu_timing_assets.artifacts.errors import BusyError

SCRATCH_PREFIX = ".unfinished-"
LOCK_PREFIX = ".lock-"


@contextmanager
def exclusive_lock(path: Path, what: str) -> Iterator[None]:
    """Hold an `flock` on `path` for the block; the kernel releases it when the process dies.

    Raises `BusyError` at once if another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _open_lock(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(descriptor, 64, 0).decode(errors="replace").strip() or "unknown"
            raise BusyError(f"{what} is in use by another process (pid {holder}): wait for it or end it") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    """Open or make a lock file that every user of the machine may hold: a device has one lock, whoever asks for it."""
    try:
        # without O_CREAT: in a sticky directory the kernel refuses that for another user's file
        return os.open(path, os.O_RDWR)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        with suppress(PermissionError):
            os.fchmod(descriptor, 0o666)
        return descriptor
    except PermissionError:
        raise BusyError(f"{path} belongs to another user and cannot be locked: have it made writable for all") from None


@contextmanager
def atomic_directory(target: Path, *, replace: bool = True) -> Iterator[Path]:
    """Yield a scratch directory beside `target` that takes its name when the block ends without an error.

    On an error the scratch directory is removed and `target` is as it was. A scratch directory that a killed
    process left behind is removed by the next writer of the same target.

    Raises `BusyError` if another process is writing the same target, `FileExistsError` if `target` exists and
    `replace` is false.
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

"""A full disk as the fault that it is."""

import errno
import shutil
import tempfile
from pathlib import Path

from gpu_timing_assets.core.data_root import default_data_root
from gpu_timing_assets.core.errors import DiskFullError


def existing_folder(path: Path) -> Path:
    """The nearest folder at or above `path` that exists."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())


def disk_fault(error: OSError, folder: Path | None = None) -> DiskFullError | None:
    """`error` for a person if a disk or a quota is full, else None; `folder`: where results go."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    return full_disk(folder or default_data_root())


def is_full(folder: Path) -> bool:
    return shutil.disk_usage(existing_folder(folder)).free < 2**20


def full_disk(folder: Path) -> DiskFullError:
    places = [existing_folder(folder), Path(tempfile.gettempdir())]
    free = ", ".join(
        f"{shutil.disk_usage(place).free >> 20:,} MiB are free below {place}" for place in places
    )
    return DiskFullError(
        f"no room is left on the disk ({free}): free some, or let GPU_TIMING_DATA_ROOT (and "
        f"TMPDIR) name another disk"
    )

"""Directories that appear only when they are whole, and are written by one process at a time."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gpu_timing_assets.core.errors import ArtifactError, BusyError
from gpu_timing_assets.core.locks import exclusive_lock, lock_of
from gpu_timing_assets.core.manifest import write_manifest

SCRATCH_PREFIX = ".unfinished-"
# of what is being replaced; no name of a directory begins with "-"
RETIRED_PREFIX = f"{SCRATCH_PREFIX}-replaced-"


@contextmanager
def atomic_directory(target: Path, *, replace: bool = True) -> Iterator[Path]:
    """Yield a scratch directory beside `target` that takes its name, with a manifest of its files,
    when the block ends without an error. Where `target` is a link, what it leads to is replaced.

    On an error the scratch directory is removed and `target` is as it was. What a killed process
    left behind is removed, or given back its name, by the next writer of the same target.

    Raises `BusyError` if another process is writing the same target, `FileExistsError` if `target`
    exists and `replace` is false, `ArtifactError` if it is a file or a link that leads nowhere.
    """
    target = _where_it_leads(target)
    with exclusive_lock(lock_of(target), str(target)):
        _recover(target)
        scratch = target.with_name(f"{SCRATCH_PREFIX}{target.name}")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            yield scratch
            write_manifest(scratch)
            if target.exists() and not replace:
                raise FileExistsError(f"{target} exists already")
            _take_place(scratch, target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def recover_replaced(parent: Path) -> None:
    """Give the directories in `parent` whose replacement was killed their names back.

    For readers, who need not be able to write there: what somebody is replacing at this moment, or
    cannot be renamed, is left as it is.
    """
    for retired in parent.glob(f"{RETIRED_PREFIX}*"):
        target = parent / retired.name.removeprefix(RETIRED_PREFIX)
        with suppress(BusyError, OSError), exclusive_lock(lock_of(target), str(target)):
            _recover(target)


def _where_it_leads(target: Path) -> Path:
    if not target.is_symlink():
        if target.exists() and not target.is_dir():
            raise ArtifactError(f"{target} is a file where a directory belongs: move it away")
        return target
    if not target.is_dir():
        raise ArtifactError(
            f"{target} is a link to no directory: make the one that it leads to (is its disk "
            "mounted?), or remove the link"
        )
    return target.resolve()


def _take_place(scratch: Path, target: Path) -> None:
    """Between its two renames there is no target: `_recover` undoes the first of a process that
    was killed there.
    """
    retired = _retired(target)
    if target.exists():
        target.rename(retired)
    scratch.rename(target)
    shutil.rmtree(retired, ignore_errors=True)


def _recover(target: Path) -> None:
    retired = _retired(target)
    if not target.exists() and retired.exists():
        retired.rename(target)
    shutil.rmtree(retired, ignore_errors=True)


def _retired(target: Path) -> Path:
    return target.with_name(f"{RETIRED_PREFIX}{target.name}")

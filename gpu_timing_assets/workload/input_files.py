"""Files a workload is made from: which may be read, and how they are opened, compressed or not."""

import bz2
import gzip
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from gpu_timing_assets.core.data_root import RESOURCES
from gpu_timing_assets.core.errors import WorkloadError

INPUT_ROOTS_VARIABLE = "GPU_TIMING_INPUT_ROOTS"
ENCRYPTED = 0x1
PROMPTS_DIR = RESOURCES / "prompts"


def resolve_input(path: str, data_root: Path) -> Path:
    """The file that a preset's `path` means: absolute, or relative to `resources/prompts`.

    Only files below `resources/`, the data root or a directory in `$GPU_TIMING_INPUT_ROOTS`
    (separated as in `$PATH`) are read, because presets can come from a web page. Raises
    `WorkloadError` for others and for what is no file.
    """
    found = (PROMPTS_DIR / path).resolve()
    named = [
        Path(root) for root in os.environ.get(INPUT_ROOTS_VARIABLE, "").split(os.pathsep) if root
    ]
    allowed = [root.resolve() for root in (RESOURCES, data_root, *named)]
    if not any(found.is_relative_to(root) for root in allowed):
        raise WorkloadError(
            f"{path} lies outside the directories that may be read: move it below the data root "
            f"({data_root}), or name its directory in ${INPUT_ROOTS_VARIABLE}"
        )
    if not found.is_file():
        raise WorkloadError(
            f"{found} is not there: give a path relative to resources/prompts, or an absolute one"
        )
    return found


@contextmanager
def open_input(path: Path) -> Iterator[IO[bytes]]:
    """Open a plain, gzip, bzip2, xz or zip file for reading bytes; its first bytes, not its name,
    say which it is.

    Raises `WorkloadError` for an archive that is truncated or damaged, or a zip of more than one
    file.
    """
    # NotImplementedError: a zip's compression that Python does not know
    damaged = (
        *(EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, OSError),
        NotImplementedError,
    )
    try:
        with path.open("rb") as raw:
            magic = raw.read(6)
            raw.seek(0)
            if magic.startswith(b"\x1f\x8b"):
                with gzip.open(raw) as file:
                    yield cast(IO[bytes], file)
            elif magic.startswith(b"BZh"):
                with bz2.open(raw) as file:
                    yield file
            elif magic.startswith(b"\xfd7zXZ\x00"):
                with lzma.open(raw) as file:
                    yield file
            elif magic.startswith(b"PK\x03\x04"):
                with zipfile.ZipFile(raw) as archive:
                    names = [
                        name
                        for name in archive.namelist()
                        # what a Mac adds beside each file
                        if not name.endswith("/") and not name.startswith("__MACOSX/")
                    ]
                    if len(names) != 1:
                        raise WorkloadError(
                            f"{path} holds {len(names)} files: unpack it and give one of them"
                        )
                    if archive.getinfo(names[0]).flag_bits & ENCRYPTED:
                        raise WorkloadError(f"{path} is encrypted: unpack it with its password")
                    with archive.open(names[0]) as member:
                        yield member
            elif magic.startswith(b"\x28\xb5\x2f\xfd"):
                raise WorkloadError(
                    f"{path} is compressed with zstd, which is not read: unpack it, or use gzip"
                )
            else:
                yield raw
    except damaged as error:
        raise WorkloadError(f"{path} is truncated or damaged ({error}): fetch it again") from None


def read_input(path: Path) -> bytes:
    """The whole content, decompressed. Raises as `open_input` does."""
    with open_input(path) as file:
        return file.read()

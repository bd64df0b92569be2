"""What lies in a directory, as it was when it was filed: `manifest.json`, a hash for each file.

A hash is over what a file says, not how it is stored: `token_metrics.csv.xz` is listed, and
checked, as `token_metrics.csv`, so that a directory may be compressed for shipping.
"""

import argparse
import gzip
import hashlib
import logging
import lzma
import sys
import zlib
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from io import BufferedReader
from pathlib import Path
from typing import Literal

from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.files import COMPRESSED, Metadata, read_metadata, write_json
from gpu_timing_assets.core.names import Sha256

MANIFEST_FILE = "manifest.json"
COMMAND = "python -m gpu_timing_assets.core.manifest"
# what a run may be shipped without: the steps of one repeat are enough to explain an error
LEFT_OUT = frozenset({"engine_steps.csv", "engine_batches.csv"})
# what a directory is known by, each written last
METADATA_FILES = ("run_meta.json", "workload_meta.json", "bundle_meta.json")
# what is read: anything else, such as notes, may lie beside it
READ_SUFFIXES = frozenset({".csv", ".json", ".jsonl"})
_LOG = logging.getLogger(__name__)


class Manifest(Metadata):
    """`files_sha256`: of each file's uncompressed content, by its path in the directory without
    `.gz` or `.xz`.
    """

    schema_version: Literal[1] = 1
    files_sha256: dict[str, Sha256]


def write_manifest(directory: Path) -> Manifest:
    """List what is in the directory now. Raises `ArtifactError` for a file that cannot be read."""
    found = {name: _content_sha256(path) for name, path in _files(directory)}
    manifest = Manifest(files_sha256=found)
    write_json(directory / MANIFEST_FILE, manifest)
    return manifest


def verify_file(directory: Path, name: str) -> None:
    """Raises `ArtifactError` if the file of that name is not the one that was filed. A directory
    of before there were manifests passes.
    """
    if (manifest := _manifest(directory)) is not None:
        for found, path in _files(directory, name):
            _check(directory, manifest, found, path)


def verify_directory(directory: Path) -> None:
    """Raises `ArtifactError` naming the first file that is not as it was filed, came since, or is
    gone (`engine_steps.csv` and `engine_batches.csv` may be).

    Of a directory of before there were manifests a warning says that nothing vouches for it.
    """
    manifest = _manifest(directory)
    if manifest is None:
        _warn_of_none(directory)
        return
    missing = manifest.files_sha256.keys() - LEFT_OUT
    for name, path in _files(directory):
        _check(directory, manifest, name, path)
        missing -= {name}
    if missing:
        raise ArtifactError(
            f"{directory / min(missing)} is missing, which {MANIFEST_FILE} lists: "
            f"{_remedy(directory)}"
        )


def _manifest(directory: Path) -> Manifest | None:
    path = directory / MANIFEST_FILE
    return read_metadata(path, Manifest) if path.is_file() else None


def _files(directory: Path, only: str = "") -> Iterator[tuple[str, Path]]:
    """Every file with the name that it is listed by, hidden ones apart; `only`: of one name."""
    candidates = (
        [directory / f"{only}{suffix}" for suffix in ("", *COMPRESSED)]
        if only
        else sorted(directory.rglob("*"))
    )
    for path in candidates:
        inside = path.relative_to(directory)
        hidden = any(part.startswith(".") for part in inside.parts)
        if hidden or inside == Path(MANIFEST_FILE) or not path.is_file():
            continue
        plain = inside.with_suffix("") if inside.suffix in COMPRESSED else inside
        yield plain.as_posix(), path


def _check(directory: Path, manifest: Manifest, name: str, path: Path) -> None:
    listed = manifest.files_sha256.get(name)
    if listed is None:
        if Path(name).suffix in READ_SUFFIXES:
            raise ArtifactError(
                f"{path} is not listed in {MANIFEST_FILE}: it came after the directory was filed; "
                f"{_remedy(directory)}"
            )
        return
    found = _content_sha256(path)
    if found != listed:
        raise ArtifactError(
            f"{path} is not the file that was filed (sha256 {found[:12]}, {MANIFEST_FILE} lists "
            f"{listed[:12]}): {_remedy(directory)}"
        )


def _remedy(directory: Path) -> str:
    return (
        "take the directory anew from where it came from, or run its stage again; if the change is "
        f"meant, `{COMMAND} --again {directory}` lists what is there now"
    )


def _content_sha256(path: Path) -> str:
    status = path.stat()
    return _sha256(path.absolute(), status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=100_000)
def _sha256(path: Path, _inode: int, _size: int, _mtime_ns: int) -> str:
    """Hashed once in a process for as long as the file stays as it is."""
    try:
        with _opened(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise ArtifactError(f"{path} is damaged: {error}: take it anew from its source") from None


def _opened(path: Path) -> gzip.GzipFile | lzma.LZMAFile | BufferedReader:
    if path.suffix == ".gz":
        return gzip.GzipFile(path)
    return lzma.LZMAFile(path) if path.suffix == ".xz" else path.open("rb")


@cache
def _warn_of_none(directory: Path) -> None:
    _LOG.warning(
        "%s has no %s, being of an older release: nothing shows whether its files were changed "
        "since (where you trust them, `%s %s` lists them)",
        *(directory, MANIFEST_FILE, COMMAND, directory),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """List the files of every run, bundle and workload at or below some directories."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=main.__doc__)
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIR")
    again = "list anew what is listed already: for a change that is meant"
    parser.add_argument("--again", action="store_true", help=again)
    chosen = parser.parse_args(arguments)
    status = 0
    for directory in _filed_directories(chosen.directories):
        try:
            if chosen.again or not (directory / MANIFEST_FILE).is_file():
                write_manifest(directory)
                sys.stdout.write(f"listed: {directory}\n")
            verify_directory(directory)
        except ArtifactError as error:
            sys.stderr.write(f"{error}\n")
            status = error.exit_code
    return status


def _filed_directories(roots: Sequence[Path]) -> list[Path]:
    return sorted(
        {path.parent for root in roots for name in METADATA_FILES for path in root.rglob(name)}
    )


if __name__ == "__main__":
    sys.exit(main())

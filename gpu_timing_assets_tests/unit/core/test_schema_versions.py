"""Metadata of a release to come are refused with the line that says so, older ones are migrated."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpu_timing_assets.config.experiment import load_snapshot
from gpu_timing_assets.core.bundle import BUNDLE_META_FILE, BundleMeta
from gpu_timing_assets.core.data_root import REFERENCE_DATA
from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.files import CONFIG_FILE, read_metadata, write_json
from gpu_timing_assets.core.manifest import MANIFEST_FILE, verify_directory
from gpu_timing_assets.core.run import (
    RUN_META_FILE,
    ProfileRunMeta,
    RealRunMeta,
    read_complete_run,
    run_type_of,
)
from gpu_timing_assets.core.workload import WORKLOAD_META_FILE, read_workload_meta

RUN = min(REFERENCE_DATA.glob("*/real_runs/*"))
BUNDLE = min(REFERENCE_DATA.glob("*/vidur_profiling/*/*"))
READERS: dict[str, tuple[Path, str, Callable[[Path], Any]]] = {
    "real run": (RUN, RUN_META_FILE, lambda path: read_complete_run(path, RealRunMeta)),
    "kind of a run": (RUN, RUN_META_FILE, run_type_of),
    "snapshot": (RUN, CONFIG_FILE, load_snapshot),
    "profile": (BUNDLE, RUN_META_FILE, lambda path: read_complete_run(path, ProfileRunMeta)),
    "bundle": (
        BUNDLE,
        BUNDLE_META_FILE,
        lambda path: read_metadata(path / BUNDLE_META_FILE, BundleMeta),
    ),
    "workload": (RUN, WORKLOAD_META_FILE, read_workload_meta),
    "manifest": (RUN, MANIFEST_FILE, verify_directory),
}


@pytest.fixture(params=READERS.values(), ids=READERS)
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Any], Any]:
    """`reader(version)` reads a file of that schema version with what reads such files."""
    source, name, read = request.param

    def read_with(version: Any) -> Any:
        directory = tmp_path / "directory"
        shutil.copytree(source, directory)
        (directory / MANIFEST_FILE).unlink(missing_ok=True)
        file = directory / name
        written = json.loads(file.read_text()) if file.is_file() else {}
        write_json(file, {**written, "schema_version": version})
        return read(directory)

    return read_with


def test_a_newer_schema_version_is_refused_with_what_reads_it(reader) -> None:
    with pytest.raises(
        ArtifactError,
        match=r"json is of schema version 99, and this release reads up to \d: read it with the "
        r"release that wrote it.*, or a later one",
    ):
        reader(99)


@pytest.mark.parametrize("version", [0, -1, "2", 1.5, True, None, [2]])
def test_what_is_no_schema_version_is_refused(reader, version) -> None:
    with pytest.raises(ArtifactError, match="json: schema_version is .*, and must be a whole"):
        reader(version)


def test_the_commit_that_wrote_a_newer_run_is_named(tmp_path) -> None:
    write_json(tmp_path / RUN_META_FILE, {"schema_version": 3, "git_commit": "0123456789abcdef"})
    with pytest.raises(ArtifactError, match="wrote it, which was at commit 0123456789ab, or"):
        run_type_of(tmp_path)


@pytest.mark.parametrize("field", ["details", "run_type"])
@pytest.mark.parametrize("value", [[], {"x": []}, 7, None, "x"])
def test_an_older_run_that_is_damaged_is_refused_and_raises_nothing_else(
    tmp_path, field, value
) -> None:
    older = {"schema_version": 1, "run_type": "vidur", "details": {}}
    write_json(tmp_path / RUN_META_FILE, {**older, field: value})
    with pytest.raises(ArtifactError, match=str(tmp_path)):
        read_complete_run(tmp_path, RealRunMeta)

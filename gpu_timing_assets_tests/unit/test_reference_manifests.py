"""What is shipped is what was listed by `python -m gpu_timing_assets.core.manifest`."""

from pathlib import Path

import pytest

from gpu_timing_assets.core.data_root import REFERENCE_DATA
from gpu_timing_assets.core.manifest import MANIFEST_FILE, METADATA_FILES, verify_directory

SHIPPED = sorted({path.parent for name in METADATA_FILES for path in REFERENCE_DATA.rglob(name)})


@pytest.mark.parametrize("directory", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_directory_has_the_files_that_its_manifest_lists(directory: Path) -> None:
    assert (directory / MANIFEST_FILE).is_file()
    verify_directory(directory)


def test_no_manifest_is_left_of_a_directory_that_is_not_shipped_any_more() -> None:
    assert {path.parent for path in REFERENCE_DATA.rglob(MANIFEST_FILE)} == set(SHIPPED)

"""What was filed is what is read: a changed, added or lost file is refused by its name."""

import gzip
import itertools
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpu_timing_assets.core.directories import atomic_directory
from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.files import read_json, write_json
from gpu_timing_assets.core.manifest import (
    MANIFEST_FILE,
    main,
    verify_directory,
    verify_file,
    write_manifest,
)

STEPS, TOKENS, META = "engine_steps.csv", "host/token_metrics.csv", "run_meta.json"
TICKS = itertools.count()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    with atomic_directory(directory) as scratch:
        (scratch / "host").mkdir()
        for name in (STEPS, TOKENS):
            (scratch / name).write_text("step,time\n0,1\n1,2\n")
        write_json(scratch / META, {"num_steps": 2})
    return directory


def test_a_directory_is_filed_with_the_hash_of_each_of_its_files(run) -> None:
    listed = read_json(run / MANIFEST_FILE)["files_sha256"]
    assert sorted(listed) == sorted([STEPS, TOKENS, META])
    verify_directory(run)


@given(cut=st.integers(0, 17), put=st.binary(max_size=3))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_change_of_a_table_is_refused_and_the_table_named(run, cut, put) -> None:
    original = (run / TOKENS).read_bytes()
    changed = original[:cut] + put
    (run / TOKENS).write_bytes(changed)
    # more changes in a millisecond than the clock of a file system tells apart
    os.utime(run / TOKENS, ns=(0, next(TICKS)))
    try:
        if changed == original:
            verify_directory(run)
            return
        with pytest.raises(ArtifactError, match=f"{TOKENS} is not the file that was filed"):
            verify_directory(run)
    finally:
        (run / TOKENS).write_bytes(original)
        os.utime(run / TOKENS, ns=(0, next(TICKS)))


def _swap(run: Path) -> None:
    (run / TOKENS).write_text("step,time\n0,3\n1,4\n")


def _swap_compressed(run: Path) -> None:
    (run / TOKENS).unlink()
    (run / f"{TOKENS}.xz").write_bytes(lzma.compress(b"step,time\n"))


def _put_beside(run: Path) -> None:
    (run / f"{TOKENS}.gz").write_bytes(gzip.compress(b"step,time\n"))


def _lose(run: Path) -> None:
    (run / TOKENS).unlink()


def _add(run: Path) -> None:
    (run / "head.csv").write_text("x\n")


def _damage(run: Path) -> None:
    (run / TOKENS).unlink()
    (run / f"{TOKENS}.xz").write_bytes(lzma.compress(b"step,time\n0,1\n1,2\n")[:-9])


def _damage_manifest(run: Path) -> None:
    write_json(run / MANIFEST_FILE, {"files_sha256": {TOKENS: "no hash"}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_swap, rf"{TOKENS} is not the file that was filed.* take the directory anew"),
        (_swap_compressed, rf"{TOKENS}.xz is not the file that was filed"),
        (_put_beside, rf"{TOKENS}.gz is not the file that was filed"),
        (_lose, rf"{TOKENS} is missing, which manifest.json lists"),
        (_add, r"head.csv is not listed in manifest.json"),
        (_damage, rf"{TOKENS}.xz is damaged"),
        (_damage_manifest, r"manifest.json: files_sha256.host/token_metrics.csv"),
    ],
)
def test_what_is_not_as_it_was_filed_is_refused_with_its_name_and_a_remedy(
    run, change: Callable[[Path], None], message
) -> None:
    change(run)
    with pytest.raises(ArtifactError, match=message):
        verify_directory(run)


def test_a_file_that_was_only_touched_is_the_one_that_was_filed(run) -> None:
    verify_directory(run)
    status = (run / TOKENS).stat()
    os.utime(run / TOKENS, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    verify_directory(run)


@pytest.mark.parametrize(
    ("suffix", "compress"), [(".gz", gzip.compress), (".xz", lzma.compress)], ids=["gz", "xz"]
)
def test_a_table_may_be_compressed_for_shipping(run, suffix, compress) -> None:
    for name in (STEPS, TOKENS):
        (run / f"{name}{suffix}").write_bytes(compress((run / name).read_bytes()))
        (run / name).unlink()
    verify_directory(run)


def test_the_engines_steps_may_be_left_out_and_notes_put_in(run) -> None:
    (run / STEPS).unlink()
    (run / "notes.txt").write_text("the good one")
    verify_directory(run)


def test_one_file_is_checked_alone(run) -> None:
    _swap(run)
    verify_file(run, META)
    with pytest.raises(ArtifactError, match=f"{TOKENS} is not the file"):
        verify_file(run, TOKENS)


def test_a_directory_of_before_there_were_manifests_is_read_and_said_so(run, caplog) -> None:
    (run / MANIFEST_FILE).unlink()
    _swap(run)
    verify_file(run, META)
    assert not caplog.messages
    verify_directory(run)
    verify_directory(run)
    [said] = caplog.messages
    assert f"{run} has no manifest.json" in said
    assert f"python -m gpu_timing_assets.core.manifest {run}" in said


def test_the_command_lists_what_has_no_manifest_and_leaves_the_others(run, capsys) -> None:
    older = run.parent / "deep" / "older"
    older.mkdir(parents=True)
    (older / META).write_text("{}")
    before = (run / MANIFEST_FILE).read_bytes()
    assert main([str(run.parent)]) == 0
    assert capsys.readouterr().out == f"listed: {older}\n"
    assert (run / MANIFEST_FILE).read_bytes() == before
    verify_directory(older)


def test_the_command_tells_of_a_changed_directory_and_lists_it_again_only_when_asked(
    run, capsys
) -> None:
    _swap(run)
    assert main([str(run)]) == ArtifactError.exit_code
    assert f"{TOKENS} is not the file that was filed" in capsys.readouterr().err
    assert main(["--again", str(run)]) == 0
    verify_directory(run)


def test_a_table_that_was_left_out_stays_listed_when_the_rest_is_compressed(run) -> None:
    (run / STEPS).unlink()
    assert main([str(run)]) == 0
    assert STEPS in read_json(run / MANIFEST_FILE)["files_sha256"]
    (run / STEPS).write_text("of another run\n")
    with pytest.raises(ArtifactError, match=f"{STEPS} is not the file that was filed"):
        verify_directory(run)


def test_what_is_hidden_is_no_file_of_the_directory(run) -> None:
    (run / ".nfs0001.csv").write_text("x")
    verify_directory(run)
    assert ".nfs0001.csv" not in write_manifest(run).files_sha256

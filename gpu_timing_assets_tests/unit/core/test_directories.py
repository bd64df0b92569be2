"""A directory appears whole or not at all, whatever stands in its place and whenever that ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gpu_timing_assets.core import locks
from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets.core.directories import atomic_directory, recover_replaced
from gpu_timing_assets.core.errors import ArtifactError, BusyError
from gpu_timing_assets.core.locks import (
    LOCKS_VARIABLE,
    exclusive_lock,
    lock_holder,
    lock_of,
    lock_of_device,
)

# a process that ends itself in one of the renames that put a directory in another's place
KILLED_IN_A_RENAME = """
import os, signal, sys
from pathlib import Path
from gpu_timing_assets.core.directories import atomic_directory
count = 0
def watch(event, arguments):
    global count
    if event == "os.rename":
        count += 1
        if count == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
with atomic_directory(Path(sys.argv[1])) as scratch:
    (scratch / "content").write_text("new")
"""


def write(target: Path, content: str) -> None:
    with atomic_directory(target) as scratch:
        (scratch / "content").write_text(content)


def content(target: Path) -> str:
    return (target / "content").read_text()


def visible(parent: Path) -> list[str]:
    return sorted(path.name for path in parent.iterdir() if path.name != ".locks")


def kill_in_rename(target: Path, number: int) -> None:
    """Of a replacement by a process: in its first rename nothing has moved, in its second the old
    directory has gone and the new one has not come.
    """
    command = [sys.executable, "-c", KILLED_IN_A_RENAME, str(target), str(number)]
    assert subprocess.run(command, cwd=PROJECT_ROOT).returncode == -signal.SIGKILL


@pytest.mark.parametrize("number", [1, 2], ids=["before both renames", "between the two"])
def test_the_next_writer_finds_what_was_there_before_a_kill(tmp_path, number) -> None:
    target = tmp_path / "run"
    write(target, "old")
    kill_in_rename(target, number)
    with atomic_directory(target) as scratch:
        assert content(target) == "old"
        (scratch / "content").write_text("newer")
    assert content(target) == "newer"
    assert visible(tmp_path) == ["run"]


def test_what_ends_with_an_error_leaves_the_target_as_it_was(tmp_path) -> None:
    write(tmp_path / "run", "old")
    with pytest.raises(TypeError):
        write(tmp_path / "run", None)  # type: ignore[arg-type]
    assert (content(tmp_path / "run"), visible(tmp_path)) == ("old", ["run"])


def test_the_next_reader_finds_what_was_there_before_a_kill(tmp_path) -> None:
    target = tmp_path / "run"
    write(target, "old")
    kill_in_rename(target, 2)
    assert not target.exists()
    recover_replaced(tmp_path)
    assert content(target) == "old"


def test_a_reader_leaves_a_replacement_that_is_under_way_alone(tmp_path) -> None:
    target = tmp_path / "run"
    write(target, "old")
    kill_in_rename(target, 2)
    with exclusive_lock(lock_of(target), "it"):
        recover_replaced(tmp_path)
        assert not target.exists()


def test_what_was_replaced_is_gone_after_a_kill_behind_both_renames(tmp_path) -> None:
    target = tmp_path / "run"
    write(target, "old")
    target.rename(tmp_path / ".unfinished--replaced-run")
    write(tmp_path / "other", "new")
    (tmp_path / "other").rename(target)
    recover_replaced(tmp_path)
    assert (content(target), visible(tmp_path)) == ("new", ["run"])


def test_a_link_to_a_directory_is_followed_and_stays(tmp_path) -> None:
    disk = tmp_path / "disk"
    write(disk / "run", "old")
    (tmp_path / "run").symlink_to(disk / "run")
    write(tmp_path / "run", "new")
    assert (tmp_path / "run").is_symlink()
    assert content(disk / "run") == "new"
    assert visible(disk) == ["run"]


def test_a_file_in_the_targets_place_is_refused_at_once_and_left(tmp_path) -> None:
    (tmp_path / "run").write_text("mine")
    with (
        pytest.raises(ArtifactError, match=r"run is a file where a directory belongs: move it"),
        atomic_directory(tmp_path / "run"),
    ):
        pytest.fail("nothing may be worked out for a place that cannot be written")
    assert (tmp_path / "run").read_text() == "mine"


@pytest.mark.parametrize("leads_to", ["gone", "file", "run"])
def test_a_link_to_no_directory_is_refused_at_once(tmp_path, leads_to) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "run").symlink_to(tmp_path / leads_to)
    with (
        pytest.raises(ArtifactError, match=r"run is a link to no directory.*remove the link"),
        atomic_directory(tmp_path / "run"),
    ):
        pytest.fail("nothing may be worked out for a place that cannot be written")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_second_writer_is_refused_before_it_works(tmp_path) -> None:
    with (
        atomic_directory(tmp_path / "run"),
        pytest.raises(BusyError, match=rf"run is in use by another process \(pid {os.getpid()}"),
        atomic_directory(tmp_path / "run"),
    ):
        pytest.fail("two write one directory")


def test_a_lock_file_that_is_a_link_is_refused_and_what_it_leads_to_left(tmp_path) -> None:
    (tmp_path / "letter").write_text("mine")
    lock = lock_of(tmp_path / "run")
    lock.parent.mkdir()
    lock.symlink_to(tmp_path / "letter")
    with pytest.raises(ArtifactError, match=r"run is a link, and a lock file is none: remove it"):
        write(tmp_path / "run", "new")
    assert (tmp_path / "letter").read_text() == "mine"
    assert lock_holder(lock) is None


def test_a_folder_of_locks_that_is_a_link_is_refused(tmp_path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".locks").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match=r"\.locks is a link"):
        write(tmp_path / "run", "new")


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_lock_file_is_as_open_as_the_umask_has_it(tmp_path, umask, mode) -> None:
    before = os.umask(umask)
    try:
        write(tmp_path / "run", "new")
    finally:
        os.umask(before)
    assert lock_of(tmp_path / "run").stat().st_mode & 0o777 == mode


def test_a_devices_lock_lies_in_the_folder_that_its_users_agree_on(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(LOCKS_VARIABLE, str(tmp_path))
    assert lock_of_device("cpu") == tmp_path / "device-cpu"


def for_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder such as `/run/lock`; only root can make one that is root's."""
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.delenv(LOCKS_VARIABLE)
    monkeypatch.setattr(locks, "MACHINE_LOCKS", folder)
    return folder


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a folder that is root's")
def test_a_devices_lock_is_for_all_users_of_the_machine(tmp_path, monkeypatch) -> None:
    folder = for_all(tmp_path / "lock", monkeypatch)
    before = os.umask(0o077)
    try:
        with exclusive_lock(lock_of_device("cpu"), "device cpu"):
            assert lock_of_device("cpu").parent == folder
            assert lock_of_device("cpu").stat().st_mode & 0o777 == 0o666
    finally:
        os.umask(before)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be two users")
def test_two_users_who_agreed_on_nothing_exclude_each_other(tmp_path, monkeypatch) -> None:
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    for_all(tmp_path / "lock", monkeypatch)
    with exclusive_lock(lock_of_device("cpu"), "device cpu"):
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            try:
                with exclusive_lock(lock_of_device("cpu"), "device cpu"):
                    os._exit(1)
            except BusyError as error:
                os._exit(0 if "in use by" in str(error) else 2)
            finally:
                os._exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_lock_file_with_a_second_name_is_refused_and_not_written_to(tmp_path) -> None:
    (tmp_path / "mine").write_text("precious")
    os.link(tmp_path / "mine", tmp_path / "device-cpu")
    with (
        pytest.raises(ArtifactError, match="no file of its own"),
        exclusive_lock(tmp_path / "device-cpu", "device cpu"),
    ):
        pass
    assert (tmp_path / "mine").read_text() == "precious"


def test_a_machines_folder_that_others_may_tidy_is_not_trusted(tmp_path, monkeypatch) -> None:
    for_all(tmp_path / "lock", monkeypatch).chmod(0o777)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert lock_of_device("cpu").parent == tmp_path / "gpu-timing-locks"


def test_a_devices_lock_lies_in_the_users_runtime_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv(LOCKS_VARIABLE)
    monkeypatch.setattr(locks, "MACHINE_LOCKS", tmp_path / "no lock folder")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert lock_of_device("cpu") == tmp_path / "gpu-timing-locks" / "device-cpu"


def test_without_a_runtime_folder_a_devices_lock_lies_in_the_data_root(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.delenv(LOCKS_VARIABLE)
    monkeypatch.setattr(locks, "MACHINE_LOCKS", tmp_path / "no lock folder")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("GPU_TIMING_DATA_ROOT", str(tmp_path / "data"))
    assert lock_of_device("cpu").parent == tmp_path / "data" / ".locks"

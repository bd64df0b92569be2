"""`make demo`'s last screen: whatever goes wrong, it ends within 30 s of it, on one screen, with
the cause, the remedy and the log.

What goes wrong is planted in the demo's processes by a `sitecustomize` module, by a held lock or by
other files under /proc.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets.dagster_app.demo import main

Demo = Callable[..., "subprocess.CompletedProcess[str]"]
# in a process whose command line has {module}, as soon as vLLM is imported
PLANT = """
import os, signal, sys
if any({module!r} in word for word in sys.orig_argv):
    class Planted:
        def find_spec(self, name, path=None, target=None):
            if name == "vllm":
                {act}
    sys.meta_path.insert(0, Planted())
"""
# the engine's process forks the engine core, which forks the worker
DYING_WORKER = """
import os, signal, sys, threading
forks = []
def count():
    forks.append(1)
    if len(forks) == 2:
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGILL)).start()
if any("burst_process" in word for word in sys.orig_argv):
    os.register_at_fork(after_in_child=count)
"""
MOUNTS = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    home = tmp_path / "home"
    home.mkdir()
    settings = (PROJECT_ROOT / "dagster.yaml").read_text()
    (home / "dagster.yaml").write_text(settings.replace("data/.dagster", str(tmp_path / "storage")))

    def run(plant: str = "", before: str = "") -> "subprocess.CompletedProcess[str]":
        (tmp_path / "sitecustomize.py").write_text(plant)
        environment = {
            **os.environ,
            "DAGSTER_HOME": str(home),
            "GPU_TIMING_DATA_ROOT": str(tmp_path / "data"),
            "PYTHONPATH": f"{tmp_path}{os.pathsep}{PROJECT_ROOT}",
            "PYTHONWARNINGS": "ignore",
            "GPU_TIMING_TARGET": "hardware=cpu",
        }
        command = [sys.executable, "-m", "gpu_timing_assets.dagster_app.demo"]
        if before:
            command = [*MOUNTS, "sh", "-c", f'{before} && exec "$@"', "demo", *command]
        return subprocess.run(
            command,
            cwd=PROJECT_ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


def screen(done: "subprocess.CompletedProcess[str]") -> str:
    """What is left on the terminal below the progress, with its line breaks made spaces; at most
    ten lines.
    """
    lines = (done.stdout + done.stderr).splitlines()
    progress = [number for number, line in enumerate(lines) if re.match(r"\[\d/\d\]", line)]
    lines = lines[max(progress, default=-1) + 1 :]
    assert len(lines) <= 10, done.stdout + done.stderr
    return " ".join(" ".join(lines).split())


@pytest.mark.engine
@pytest.mark.parametrize(
    ("act", "exit_code", "cause"),
    [
        (
            "os.kill(os.getpid(), signal.SIGILL)",
            6,
            "ended with SIGILL: this CPU .* lacks an instruction",
        ),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            12,
            r"ended with SIGKILL, probably out of memory: about 2\.\d GiB are needed",
        ),
        ("raise OSError(28, 'No space left on device')", 13, "no room is left on the disk"),
    ],
)
def test_what_ends_the_engines_process_is_told_once_and_not_tried_again(
    demo: Demo, tmp_path, act, exit_code, cause
) -> None:
    begin = time.monotonic()
    done = demo(PLANT.format(module="burst_process", act=act))
    # Dagster needs 3 s to load the graph and as long to start the step's process, on two cores of
    # its own
    assert time.monotonic() - begin < 30 * max(1.0, os.getloadavg()[0] / 2)
    assert done.returncode == exit_code, done.stderr
    shown = screen(done)
    assert re.search(
        rf"demo: profiling_bundle failed after \d+ s cause .*{cause}.* remedy .* log \S+\.log$",
        shown,
    )
    log = Path(shown.rpartition(" ")[2]).read_text()
    assert "stage=vidur-profile" in log
    assert "event=failed" in log
    assert "attempt=1" not in log


@pytest.mark.engine
def test_a_worker_of_the_engine_that_lacks_an_instruction_is_told_too(demo: Demo) -> None:
    done = demo(DYING_WORKER)
    assert done.returncode == 6, done.stderr
    assert "a process of the engine, as it started, ended with SIGILL: this CPU" in screen(done)


def test_a_held_device_is_told_before_anything_is_started(demo: Demo) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from gpu_timing_assets.engines.device import exclusive_device\n"
            "from gpu_timing_assets.config.experiment import compose\n"
            "with exclusive_device(compose().hardware):\n    print('held', flush=True); "
            "sys.stdin.read()",
        ],
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        done = demo()
    finally:
        holder.kill()
        holder.communicate()
    assert done.returncode == 4
    assert re.search(
        rf"cannot device device cpu is in use by another process \(pid {holder.pid}: .*wait for "
        rf"it or end it",
        screen(done),
    )


@pytest.mark.skipif(
    subprocess.run([*MOUNTS, "true"], capture_output=True).returncode != 0
    if shutil.which("unshare")
    else True,
    reason="this user may not mount anything, so that no other /proc/cpuinfo and no small disk "
    "can be shown to the demo",
)
@pytest.mark.parametrize(
    ("before", "exit_code", "cause"),
    [
        (
            "sed 's/ avx2 / /; s/ avx512[a-z0-9_]*//g' /proc/cpuinfo > {folder}/cpuinfo && "
            "mount --bind {folder}/cpuinfo /proc/cpuinfo",
            6,
            "cannot CPU .* has no AVX2, the least that vLLM's CPU engine takes: use an x86-64 CPU "
            "with AVX2",
        ),
        (
            "mkdir {folder}/data && mount -t tmpfs -o size=20m tmpfs {folder}/data",
            13,
            "cannot disk 20 MiB are free below .*, 200 MiB are needed: free some, or let "
            "GPU_TIMING_DATA_ROOT",
        ),
    ],
)
def test_what_a_machine_lacks_is_told_before_anything_is_started(
    demo: Demo, tmp_path, before, exit_code, cause
) -> None:
    done = demo(before=before.format(folder=tmp_path))
    assert done.returncode == exit_code, done.stderr
    assert re.search(cause, screen(done))
    assert "nothing was started" in done.stdout


def test_a_workload_that_does_not_exist_is_told_in_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch, tmp_path
) -> None:
    monkeypatch.setenv("GPU_TIMING_DATA_ROOT", str(tmp_path))
    monkeypatch.setenv("GPU_TIMING_TARGET", "hardware=cpu")
    assert main(["--workload", "chat_poissonn"]) == 2
    assert (
        "demo: there is no workload preset 'chat_poissonn': did you mean chat_poisson?"
        in capsys.readouterr().err
    )

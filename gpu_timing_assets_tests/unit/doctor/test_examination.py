"""The doctor: every line ok, warning or cannot, with the remedy, in seconds and with a bare
Python.
"""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpu_timing_assets.config.dtype import resolved_dtype
from gpu_timing_assets.config.experiment import compose
from gpu_timing_assets.core import machine
from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets.core.errors import (
    BusyError,
    DeviceError,
    DiskFullError,
    GpuTimingError,
    OutOfMemoryError,
)
from gpu_timing_assets.core.locks import LOCKS_VARIABLE
from gpu_timing_assets.doctor import demo_workload, examination, machine_checks
from gpu_timing_assets.doctor.findings import Finding, cannot, refuse
from gpu_timing_assets.engines import device

FLAGS = {
    "avx2": "fpu sse4_2 avx avx2 fma",
    "avx512": "fpu avx avx2 fma avx512f avx512bw avx512vl",
    "avx512_bf16": "fpu avx avx2 fma avx512f avx512bw avx512vl avx512_bf16",
    None: "fpu sse4_2 avx",
}


def doctor(
    *words: str, python: str = sys.executable, bare: bool = False, **variables: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [python, *(["-S", "-I"] if bare else []), "-c" if bare else "-m"]
        + (
            [
                f"import sys; sys.path.insert(0, {str(PROJECT_ROOT)!r}); sys.argv[0] = 'doctor'\n"
                "from gpu_timing_assets.__main__ import main; sys.exit(main(sys.argv[1:]))"
            ]
            if bare
            else ["gpu_timing_assets"]
        )
        + ["doctor", *words],
        cwd=PROJECT_ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def cpu_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def set_flags(flags: str) -> None:
        path = tmp_path / "cpuinfo"
        path.write_text(
            f"processor : 0\nmodel name : Some CPU\nflags\t\t: {flags}\nprocessor : 1\nflags : "
            f"{flags}\n"
        )
        monkeypatch.setattr(machine, "CPUINFO", path)

    return set_flags


def only(findings: list[Finding], subject: str) -> Finding:
    [found] = [finding for finding in findings if finding.subject == subject]
    return found


@pytest.mark.parametrize(("found", "flags"), FLAGS.items())
def test_the_widest_instruction_set_is_found(cpu_with, found, flags) -> None:
    cpu_with(flags)
    assert machine.cpu_instruction_set() == found
    assert machine.cpu_instruction_set("avx2") == (found and "avx2")


@pytest.mark.parametrize(
    ("instructions", "dtype", "library"),
    [
        ("avx2", "float32", "_C_AVX2"),
        ("avx512", "float32", "_C_AVX512"),
        ("avx512_bf16", "bfloat16", "_C"),
    ],
)
def test_dtype_and_library_follow_from_the_cpu(cpu_with, instructions, dtype, library) -> None:
    cpu_with(FLAGS[instructions])
    config = compose(["hardware=cpu"])
    assert resolved_dtype(config.model, config.hardware) == dtype
    assert f"which loads {library} here" in only(examination.examine(config, "stage"), "vLLM").text
    assert (
        resolved_dtype(compose(["hardware=h100"]).model, compose(["hardware=h100"]).hardware)
        == "bfloat16"
    )


def test_a_cpu_without_avx2_is_refused_before_anything_is_installed_and_before_a_stage(
    cpu_with,
) -> None:
    cpu_with(FLAGS[None])
    for findings in (
        examination.examine_machine("cpu"),
        examination.examine(compose(["hardware=cpu"]), "stage"),
    ):
        finding = only(findings, "CPU")
        assert finding.verdict == "cannot"
        assert (
            "Some CPU has no AVX2, the least that vLLM's CPU engine takes: use an x86-64 CPU with "
            "AVX2" in finding.line
        )
    with pytest.raises(DeviceError, match="no AVX2"):
        examination.preflight(compose(["hardware=cpu"]))
    assert only(examination.examine_machine("cuda"), "CPU").verdict == "ok"


def test_another_architecture_is_refused(monkeypatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    finding = only(examination.examine_machine("cpu"), "CPU")
    assert finding.line.startswith("cannot   CPU       aarch64: the locked wheels are for x86-64")


def test_too_little_memory_is_refused_with_what_is_needed(cpu_with, monkeypatch, tmp_path) -> None:
    cpu_with(FLAGS["avx512_bf16"])
    (tmp_path / "meminfo").write_text("MemTotal:  8000000 kB\nMemAvailable:    1048576 kB\n")
    monkeypatch.setattr(machine, "MEMINFO", tmp_path / "meminfo")
    with pytest.raises(
        OutOfMemoryError,
        match=r"memory: 1.0 GiB available, about 2.6 GiB needed: end other programs",
    ):
        examination.preflight(compose(["hardware=cpu"]))
    # 0.6 billion parameters in bfloat16 are 1.1 GiB more than the tiny model's
    assert (
        "about 3.6 GiB needed"
        in only(
            examination.examine(compose(["hardware=cpu", "model=qwen3-0.6b"]), "stage"), "memory"
        ).text
    )


@pytest.mark.parametrize(
    ("limit", "usage", "stat"),
    [
        (
            "memory.max",
            "memory.current",
            "anon 7\nactive_file 200000000\ninactive_file 100000000\n",
        ),
        (
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "inactive_file 1\nactive_file 2\ntotal_inactive_file 100000000\ntotal_active_file "
            "200000000\n",
        ),
    ],
)
def test_a_limit_of_the_container_counts_but_not_its_file_cache(
    monkeypatch, tmp_path, limit, usage, stat
) -> None:
    for name, text in ((limit, "2000000000\n"), (usage, "1500000000\n"), ("memory.stat", stat)):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine, "_memory_cgroups", lambda: iter([tmp_path]))
    assert machine.available_memory_bytes() == 800_000_000


@pytest.mark.parametrize(
    ("free_mib", "verdict"), [(100, "cannot"), (500, "warning"), (50_000, "ok")]
)
def test_a_disk_without_room_is_refused(monkeypatch, tmp_path, free_mib, verdict) -> None:
    usage = type("Usage", (), {"free": free_mib << 20})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    config = compose(["hardware=cpu", f"data_root={tmp_path}/not/yet/there"])
    finding = only(examination.examine(config, "stage"), "disk")
    assert finding.verdict == verdict
    assert str(tmp_path) in finding.text
    if verdict == "cannot":
        with pytest.raises(
            DiskFullError,
            match=r"100 MiB are free below \S+, 200 MiB are needed.*GPU_TIMING_DATA_ROOT",
        ):
            examination.preflight(config)


def test_a_disk_too_small_for_the_environment_is_refused_before_the_installation(
    monkeypatch,
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 2 << 30}))
    assert only(examination.examine_machine("cpu"), "disk").verdict == "cannot"


def test_a_taken_port_stops_the_page_and_nothing_else(monkeypatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("GPU_TIMING_DAGSTER_PORT", str(port))
        found = {
            purpose: only(examination.examine(compose(["hardware=cpu"]), purpose), "ports")
            for purpose in ("dev", "demo")
        }
    assert {purpose: finding.verdict for purpose, finding in found.items()} == {
        "dev": "cannot",
        "demo": "warning",
    }
    assert (
        f"{port} taken: end what listens there, or set GPU_TIMING_DAGSTER_PORT" in found["dev"].line
    )


def test_who_holds_the_device_is_named_and_stops_the_demo(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv(LOCKS_VARIABLE, str(tmp_path))
    config = compose(["hardware=cpu"])
    assert only(examination.examine(config, "demo"), "device").verdict == "ok"
    with device.exclusive_device(config.hardware):
        finding = only(examination.examine(config, "demo"), "device")
        assert finding.verdict == "cannot"
        assert f"device cpu is in use by another process (pid {os.getpid()}: " in finding.text
        with pytest.raises(BusyError):
            refuse([finding])
        # the page starts nevertheless: its stages wait
        assert only(examination.examine(config, "dev"), "device").verdict == "warning"


def test_a_target_of_another_machine_is_refused_with_the_right_one(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = only(examination.examine(compose(["hardware=h100"]), "demo"), "GPU")
    assert finding.verdict == "cannot"
    assert "hardware=cpu" in finding.remedy


@pytest.mark.parametrize(
    ("instructions", "slower", "workload", "says"),
    [
        ("avx512_bf16", 1.0, "chat_poisson", ""),
        (
            "avx2",
            1.0,
            "chat_poisson",
            "the model runs in float32: this CPU has no instructions for bfloat16",
        ),
        (
            "avx512_bf16",
            9.0,
            "chat_slow",
            "about 144 tokens/s can be served here at this moment, too few for chat_poisson's 110",
        ),
        ("avx2", 4.0, "chat_slow", "chat_slow is played, at one request a second"),
    ],
)
def test_the_demos_workload_is_one_that_the_machine_can_serve(
    cpu_with, monkeypatch, instructions, slower, workload, says
) -> None:
    cpu_with(FLAGS[instructions])
    monkeypatch.setattr(demo_workload, "slowdown", lambda: slower)
    chosen = demo_workload.demo_workload(compose(["hardware=cpu"]))
    assert chosen.workload_id == workload
    assert says in chosen.reason
    assert bool(says) == bool(chosen.reason)


def test_a_busy_machine_is_slower_than_the_reference_says(monkeypatch) -> None:
    assert 0.05 < machine.slowdown() < 100
    monkeypatch.setattr(machine_checks, "slowdown", lambda: 7.5)
    assert machine_checks.cores().line.endswith(
        "7.5 times as long as on two idle cores: timings will be noisy: end other programs if you "
        "can"
    )


@pytest.mark.parametrize("bare", [False, True])
def test_the_command_prints_a_line_each_in_seconds(bare: bool) -> None:
    begin = time.monotonic()
    done = doctor(bare=bare, GPU_TIMING_TARGET="hardware=cpu")
    took = time.monotonic() - begin
    lines = done.stdout.splitlines()
    assert {line.split()[0] for line in lines} <= {"ok", "warning", "cannot"}, done.stderr
    assert {"CPU", "cores", "memory", "disk", "GPU"} <= {line[9:].split()[0] for line in lines}
    assert ("vLLM" in done.stdout) is not bare
    assert took < 3 * max(1.0, machine.slowdown())


def test_the_command_refuses_a_wrong_target_in_a_line() -> None:
    done = doctor("hardware=h1000")
    assert done.returncode == 2
    assert done.stderr.startswith("doctor: there is no hardware preset 'h1000': did you mean h100?")


def test_every_cannot_has_a_remedy_and_a_fault_of_its_own(cpu_with, monkeypatch, tmp_path) -> None:
    cpu_with(FLAGS[None])
    monkeypatch.setenv("PATH", str(tmp_path))
    for target in ("hardware=cpu", "hardware=a100"):
        for finding in cannot(examination.examine(compose([target]), "demo")):
            assert finding.remedy
            assert issubclass(finding.fault, GpuTimingError)

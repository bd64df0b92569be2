"""One engine at a time on a device, and only on the target's."""

import os
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpu_timing_assets.config.experiment import compose
from gpu_timing_assets.config.hardware import HardwarePreset
from gpu_timing_assets.config.model import ModelPreset
from gpu_timing_assets.config.model_card import read_model_dimensions
from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets.core.errors import BusyError, DeviceError, PresetError
from gpu_timing_assets.core.locks import LOCKS_VARIABLE, lock_holder
from gpu_timing_assets.engines.device import device_name, exclusive_device

HOLDER = (
    "import sys; from gpu_timing_assets.engines.device import exclusive_device; "
    "from gpu_timing_assets.config.experiment import compose\n"
    "with exclusive_device(compose().hardware):\n    print('held', flush=True); sys.stdin.read()"
)


def hardware(name: str) -> HardwarePreset:
    return compose([f"hardware={name}"]).hardware


def nvidia_smi(directory: Path, monkeypatch: pytest.MonkeyPatch, *gpus: str) -> None:
    """A machine with these GPUs, as its `nvidia-smi` tells them."""
    program = directory / "nvidia-smi"
    rows = "\n".join(
        f"{index}, GPU-{index}, {name}, 81559 MiB, 570.1" for index, name in enumerate(gpus)
    )
    program.write_text(
        f"#!/bin/sh\n{'exit 9' if not gpus else f'cat <<END{chr(10)}{rows}{chr(10)}END'}\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    # what a device shows CUDA is undone after the test
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "")


@pytest.mark.parametrize("name", ["a100", "h100", "h200"])
def test_a_machine_without_a_gpu_is_refused_with_the_remedy(tmp_path, monkeypatch, name) -> None:
    nvidia_smi(tmp_path, monkeypatch)
    with pytest.raises(DeviceError, match=f"target '{name}' needs a GPU.*hardware=cpu"):
        device_name(hardware(name))


def test_another_gpu_than_the_targets_is_refused_and_the_right_preset_named(
    tmp_path, monkeypatch
) -> None:
    nvidia_smi(tmp_path, monkeypatch, "NVIDIA H100 80GB HBM3")
    with pytest.raises(DeviceError, match="GPU 0 is a NVIDIA H100 80GB HBM3.*use hardware=h100"):
        device_name(hardware("a100"))


def test_a_gpu_of_no_preset_is_refused(tmp_path, monkeypatch) -> None:
    nvidia_smi(tmp_path, monkeypatch, "NVIDIA L4")
    with pytest.raises(DeviceError, match="add a hardware preset"):
        device_name(hardware("h100"))


def test_a_gpu_index_that_is_not_there_is_refused(tmp_path, monkeypatch) -> None:
    nvidia_smi(tmp_path, monkeypatch, "NVIDIA H100 80GB HBM3")
    with pytest.raises(DeviceError, match="GPU 3, this process sees 1.*hardware.gpu_index"):
        device_name(hardware("h100").model_copy(update={"gpu_index": 3}))


@pytest.mark.parametrize(
    ("name", "gpu"),
    [("h100", "NVIDIA H100 80GB HBM3"), ("a100", "NVIDIA A100-SXM4-80GB"), ("h200", "NVIDIA H200")],
)
def test_the_targets_gpu_is_taken(tmp_path, monkeypatch, name, gpu) -> None:
    nvidia_smi(tmp_path, monkeypatch, gpu)
    assert device_name(hardware(name)) == gpu


@pytest.fixture
def holder() -> Iterator["subprocess.Popen[str]"]:
    """Another process that measures on this machine's CPU."""
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER)],
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    yield holder
    # as hard as a death can be: the kernel releases the lock
    holder.kill()
    holder.wait()
    holder.stdin.close()  # type: ignore[union-attr]
    holder.stdout.close()


def waiting(seconds: float) -> HardwarePreset:
    return hardware("cpu").model_copy(update={"busy_timeout_s": seconds})


def test_a_second_engine_waits_for_the_first_and_says_for_whom_until_its_time_is_up(holder) -> None:
    reports: list[str] = []
    expected = rf"device cpu is in use by another process \(pid {holder.pid}: .*python.*\)"
    with (
        pytest.raises(BusyError, match=rf"{expected}, after 1 s of waiting: wait for it or end it"),
        exclusive_device(waiting(0.6), report=reports.append),
    ):
        pytest.fail("two engines hold one device")
    assert len(reports) == 1
    assert re.match(rf"{expected}: waiting up to 1 s", reports[0])


def test_a_second_engine_starts_when_the_first_is_gone(holder) -> None:
    threading.Timer(0.5, holder.kill).start()
    with exclusive_device(waiting(30)):
        assert holder.poll() is not None or holder.wait(5)


def test_containers_that_share_a_device_hold_one_lock_in_the_folder_that_they_name(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv(LOCKS_VARIABLE, str(tmp_path / "shared"))
    with exclusive_device(hardware("cpu")):
        assert lock_holder(tmp_path / "shared" / "device-cpu") is not None


def test_two_gpus_are_two_devices(tmp_path, monkeypatch) -> None:
    nvidia_smi(tmp_path, monkeypatch, "NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3")
    with exclusive_device(hardware("h100")):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
        # another process, which was shown both
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        with exclusive_device(hardware("h100").model_copy(update={"gpu_index": 1})):
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


def test_the_index_counts_within_what_a_scheduler_allotted(tmp_path, monkeypatch) -> None:
    nvidia_smi(tmp_path, monkeypatch, "NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with exclusive_device(hardware("h100")) as name:
        assert (name, os.environ["CUDA_VISIBLE_DEVICES"]) == ("NVIDIA H100 80GB HBM3", "1")


def test_tensor_parallelism_holds_and_shows_as_many_gpus_as_it_needs(tmp_path, monkeypatch) -> None:
    nvidia_smi(tmp_path, monkeypatch, "NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3")
    with exclusive_device(hardware("h100"), 2):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with (
        pytest.raises(DeviceError, match="GPU 0 and 2 more, this process sees 2"),
        exclusive_device(hardware("h100"), 3),
    ):
        pytest.fail("there are two")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "config.json is missing: put the model's Hugging Face config.json there"),
        ("{", "config.json is not JSON"),
        ('{"model_type": "llama"}', "model_type is 'llama', only dense 'qwen3'"),
        ('{"model_type": "qwen3"}', "field 'hidden_size' is missing"),
    ],
)
def test_a_model_card_that_cannot_be_used_is_named(tmp_path, content, message) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(PresetError, match=message):
        read_model_dimensions(ModelPreset(name="new", card=str(tmp_path)))

"""A GPU that nobody knew is one file: what a preset in `resources/presets/hardware` does by
itself, in a copy of the project.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpu_timing_assets_tests.project_copy import project_copy

PRESET = """\
defaults:
  - override /backend@_global_.backend: vllm
  - override /profiling@_global_.profiling: standard

name: l40s
device: cuda
gpu_name: "L40S"  # 48 GB
vidur_device: a100
vidur_network_device: a100_dgx
max_lateness_p99_ms: 5
repeats: 3
pool: lab
kubernetes_node_selector:
  nvidia.com/gpu.product: NVIDIA-L40S
ray_accelerator_type: L40S
"""
NVIDIA_SMI = """\
#!/bin/sh
case $1 in
    -L) echo "GPU 0: NVIDIA L40S (UUID: GPU-0)" ;;
    *) echo "0, GPU-0, NVIDIA L40S, 46068 MiB, 570.1" ;;
esac
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new-gpu")
    project = project_copy(folder)
    (project / "resources" / "presets" / "hardware" / "l40s.yaml").write_text(PRESET)
    (folder / "nvidia-smi").write_text(NVIDIA_SMI)
    (folder / "nvidia-smi").chmod(0o755)
    return project


def output(project: Path, *command: str, **variables: str) -> str:
    """Of a command on a machine that has the GPU."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(project),
        "PATH": f"{project.parent}:/usr/bin:/bin",
        **variables,
    }
    done = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_composes_as_a_target(project: Path):
    code = (
        "from gpu_timing_assets.config.experiment import compose; "
        "print(compose(['hardware=l40s', 'model=qwen3-8b']).target)"
    )
    assert output(project, sys.executable, "-c", code) == "qwen3-8b--l40s--vllm"


def test_it_places_what_measures(project: Path):
    code = (
        "from gpu_timing_assets.definitions import defs; "
        "print(defs.resolve_assets_def('real_run').op.pool, "
        "defs.resolve_assets_def('real_run').op.tags)"
    )
    found = output(project, sys.executable, "-c", code, GPU_TIMING_TARGET="hardware=l40s")
    assert found.startswith("lab ")
    for tag in ("'dagster-celery/queue': 'lab'", "NVIDIA-L40S", "accelerator_type:L40S"):
        assert tag in found


def test_the_launchpad_offers_it(project: Path):
    code = (
        "from gpu_timing_assets.dagster_app.launchpad import TARGET_SCHEMA; "
        "inner = TARGET_SCHEMA['hardware'].config_type; "
        "print([value.config_value for value in inner.enum_values])"
    )
    assert "'l40s'" in output(project, sys.executable, "-c", code)


def test_the_commands_list_it(project: Path):
    command = [sys.executable, "-m", "gpu_timing_assets.cli", "real-bench", "--help"]
    assert "l40s" in output(project, *command)


def test_a_target_of_another_gpu_is_told_its_name(project: Path):
    command = [sys.executable, "-m", "gpu_timing_assets", "doctor", "hardware=h100"]
    environment = {**os.environ, "PATH": f"{project.parent}:/usr/bin:/bin"}
    done = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert "GPU 0 is a NVIDIA L40S" in done.stdout
    assert "use hardware=l40s" in done.stdout


def test_the_makefile_finds_it_before_anything_is_installed(project: Path):
    show = "--eval=show: ; @echo $(FLAVOUR) $$GPU_TIMING_TARGET"
    found = output(project, "make", "--no-print-directory", show, "show", PYTHONPATH="")
    assert found == "gpu hardware=l40s model=qwen3-0.6b backend=vllm"

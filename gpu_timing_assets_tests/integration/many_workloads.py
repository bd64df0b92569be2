"""A copy of the project with more small workloads: adding one is adding a preset file, nothing else."""

import re
import shutil
from pathlib import Path

from gpu_timing_assets.artifacts.layout import PROJECT_ROOT


def project_with_workloads(folder: Path, count: int) -> tuple[Path, list[str]]:
    """The copy and the ids of its `count` new workloads."""
    project = folder / "project"
    for name in ("gpu_timing_assets", "resources"):
        shutil.copytree(PROJECT_ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    presets = project / "resources" / "presets" / "workload"
    smoke = (presets / "smoke.yaml").read_text()
    ids = [f"many_{number:02}" for number in range(count)]
    for number, workload_id in enumerate(ids):
        text = re.sub(r"workload_id: \w+", f"workload_id: {workload_id}", smoke)
        (presets / f"{workload_id}.yaml").write_text(re.sub(r"seed: \d+", f"seed: {100 + number}", text))
    return project, ids

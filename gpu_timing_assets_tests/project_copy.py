"""A copy of the project to which a test adds files: what a preset file or a plug-in does is seen
from outside, in processes of their own.
"""

import shutil
from pathlib import Path

from gpu_timing_assets.core.data_root import PROJECT_ROOT


def project_copy(folder: Path) -> Path:
    """What running the project needs, in `folder / "project"`."""
    project = folder / "project"
    for name in ("gpu_timing_assets", "resources"):
        shutil.copytree(
            PROJECT_ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "Makefile", "workspace.yaml"):
        shutil.copy(PROJECT_ROOT / name, project / name)
    return project

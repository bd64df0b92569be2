"""Where every artifact lies below the data root, and which names are allowed there."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from gpu_timing_assets.core.errors import PresetError

PROJECT_ROOT = Path(__file__).resolve().parents[2]
RESOURCES = PROJECT_ROOT / "resources"
REFERENCE_DATA = PROJECT_ROOT / "data" / "reference"
DATA_ROOT_VARIABLE = "GPU_TIMING_DATA_ROOT"

WORKLOAD_ID_PATTERN = r"^[a-z0-9][a-z0-9_-]*$"
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]*(\.[a-z0-9_-]+)*$"


def check_name(name: str, what: str, pattern: str = NAME_PATTERN) -> str:
    """Return `name`, or raise `PresetError` if it is not safe as a directory's name."""
    if len(name) > 200 or not re.match(pattern + r"\Z", name):
        raise PresetError(
            f"{what} {name!r:.200} is not allowed: use lower-case letters, digits, '-' and '_' "
            f"({pattern})"
        )
    return name


def default_data_root() -> Path:
    """`$GPU_TIMING_DATA_ROOT`, or `data/` in the project's root."""
    return Path(os.environ.get(DATA_ROOT_VARIABLE) or PROJECT_ROOT / "data").expanduser()


@dataclass(frozen=True)
class DataRoot:
    """The directory that everything the code writes lies in."""

    path: Path

    def workload_dir(self, workload_id: str) -> Path:
        return self.path / "workloads" / check_name(workload_id, "workload_id", WORKLOAD_ID_PATTERN)

    @property
    def real_runs(self) -> Path:
        return self.path / "real_runs"

    @property
    def sim_runs(self) -> Path:
        return self.path / "vidur_runs"

    @property
    def comparisons(self) -> Path:
        return self.path / "comparisons"

    def profiling_root(self, hardware: str, model: str) -> Path:
        names = check_name(hardware, "hardware"), check_name(model, "model")
        return self.path.joinpath("vidur_profiling", *names)

    def sim_run_dir(self, run_id: str) -> Path:
        return self.sim_runs / check_name(run_id, "run_id")

    def comparison_dir(self, comparison_id: str) -> Path:
        return self.comparisons / check_name(comparison_id, "comparison_id")

    @property
    def fidelity_matrix_dir(self) -> Path:
        return self.path / "fidelity_matrix"


def relative_to_data_root(path: Path, artifact: Path) -> str:
    """`path` relative to the root of `artifact` (`<data root>/<kind>/<id>`), which can be moved."""
    return os.path.relpath(path.resolve(), artifact.resolve().parents[1])

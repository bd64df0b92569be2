"""Where every artifact lies below the data root, and which names are allowed there."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from gpu_timing_assets.core.errors import ArtifactError, PresetError

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

    def below(self, kind: str, **names: str) -> Path:
        """The directory of a kind, and of the names in it, each given under what it is.

        Everything that is written or replaced gets its place here. Raises `PresetError` for a name
        that is not allowed, `ArtifactError` if a symbolic link leads out of the data root.
        """
        path = self.path.joinpath(kind, *(check_name(name, what) for what, name in names.items()))
        # resolve() would raise for a link that leads to itself
        found = Path(os.path.realpath(path))
        if not found.is_relative_to(os.path.realpath(self.path)):
            raise ArtifactError(
                f"{path} leads out of the data root, to {found}: remove that link, or link the "
                f"data root as a whole (${DATA_ROOT_VARIABLE} names another)"
            )
        return path

    def workload_dir(self, workload_id: str) -> Path:
        check_name(workload_id, "workload_id", WORKLOAD_ID_PATTERN)
        return self.below("workloads", workload_id=workload_id)

    @property
    def real_runs(self) -> Path:
        return self.below("real_runs")

    @property
    def sim_runs(self) -> Path:
        return self.below("vidur_runs")

    @property
    def comparisons(self) -> Path:
        return self.below("comparisons")

    def profiling_root(self, hardware: str, model: str, tensor_parallel_size: int = 1) -> Path:
        """`vidur_profiling/<hardware>/<model>`, and `…/<model>-tp2` of a model on two GPUs."""
        shared = f"-tp{tensor_parallel_size}" if tensor_parallel_size > 1 else ""
        return self.below("vidur_profiling", hardware=hardware, model=f"{model}{shared}")

    def prediction_tables(self, tables_id: str) -> Path:
        return self.below("vidur_tables", tables_id=tables_id)

    def sim_run_dir(self, run_id: str) -> Path:
        return self.below("vidur_runs", run_id=run_id)

    def comparison_dir(self, comparison_id: str) -> Path:
        return self.below("comparisons", comparison_id=comparison_id)

    @property
    def fidelity_matrix_dir(self) -> Path:
        return self.below("fidelity_matrix")


def relative_to_data_root(path: Path, artifact: Path) -> str:
    """`path` relative to the root of `artifact` (`<data root>/<kind>/<id>`), which can be moved."""
    return os.path.relpath(path.resolve(), artifact.resolve().parents[1])

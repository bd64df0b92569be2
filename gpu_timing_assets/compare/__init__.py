"""How far a simulation lies from the real runs, whether that is more than their noise, and where it
comes from.

Importing this package loads neither pandas nor Altair: `run` and `build_fidelity_matrix` import
them when called.
"""

from pathlib import Path

from gpu_timing_assets.compare.checks import CheckOutcome, check_names, check_outcomes
from gpu_timing_assets.compare.show.text import error_table_markdown
from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.comparison import (
    ComparisonInputs,
    ComparisonResult,
    MatrixResult,
    VerdictRow,
    load_result,
)
from gpu_timing_assets.core.data_root import DataRoot

__all__ = [
    "CheckOutcome",
    "ComparisonInputs",
    "ComparisonResult",
    "MatrixResult",
    "VerdictRow",
    "build_fidelity_matrix",
    "check_names",
    "check_outcomes",
    "error_table_markdown",
    "load_result",
    "run",
]


def run(config: ExperimentConfig, inputs: ComparisonInputs, out: Path) -> ComparisonResult:
    """Compare the simulations with the real runs of one workload and target, and write the report
    to `out`.

    Raises `IncomparableRunsError` where the runs are not of the same work under the same settings
    (unless `config.comparison.allow_mismatch`), `UnfinishedArtifactError` and `ArtifactError` for
    inputs that are missing, unfinished or malformed, naming file and row. `out` is then as it was
    before.
    """
    from gpu_timing_assets.compare.stage import compare

    return compare(config, inputs, out)


def build_fidelity_matrix(data: DataRoot, out: Path) -> MatrixResult:
    """Write the page and the tables over all comparisons below `data` to `out`."""
    from gpu_timing_assets.compare.fidelity_matrix import build

    return build(data, out)

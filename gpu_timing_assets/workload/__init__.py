"""The workload stage: from prompts, a public trace or length and arrival processes to one immutable
directory.

Importing this package and its rooms loads no NumPy: presets are shown long before they are drawn.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from gpu_timing_assets.core.workload import WorkloadMeta

if TYPE_CHECKING:
    from gpu_timing_assets.config.experiment import ExperimentConfig


def run(config: "ExperimentConfig", out: Path) -> WorkloadMeta:
    """See `gpu_timing_assets.workload.make_workload.run`."""
    from gpu_timing_assets.workload import make_workload

    return make_workload.run(config, out)

"""A copy of the project with more small workloads: adding one is adding a preset file, nothing
else.
"""

import re
from pathlib import Path

from gpu_timing_assets_tests.project_copy import project_copy


def project_with_workloads(
    folder: Path, count: int, *, only: bool = False
) -> tuple[Path, list[str]]:
    """The copy and the ids of its `count` new workloads, which are its `only` ones if that is asked
    for.
    """
    project = project_copy(folder)
    presets = project / "resources" / "presets" / "workload"
    smoke = (presets / "smoke.yaml").read_text()
    if only:
        for preset in presets.glob("*.yaml"):
            preset.unlink()
        experiment = project / "resources" / "presets" / "experiment.yaml"
        experiment.write_text(
            experiment.read_text().replace("workload: chat_poisson", "workload: many_00")
        )
    ids = [f"many_{number:02}" for number in range(count)]
    for number, workload_id in enumerate(ids):
        text = re.sub(r"workload_id: \w+", f"workload_id: {workload_id}", smoke)
        (presets / f"{workload_id}.yaml").write_text(
            re.sub(r"seed: \d+", f"seed: {100 + number}", text)
        )
    return project, ids

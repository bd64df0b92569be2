"""Metadata of schema version 1, in which kinds of runs shared an untyped `details`, as version 2.

Nothing is rewritten on disk: what an older release wrote is read as if today's had. What a newer
one wrote is refused.
"""

from pathlib import Path
from typing import Any

from gpu_timing_assets.core.errors import ArtifactError

RUN_TYPES = {"vidur": "simulated", "vidur_profile": "profile", "compare": "comparison"}
PREDICTORS = {"stock": "random_forest", "kernel": "kernels_only", "engine": "engine_loop"}
_RENAMED_DETAILS = {"variant": "substitution", "steps": "num_steps"}
_DROPPED = {
    "real": {"details", "profiling_root", "real_run_dir", "sim_run_dir"},
    "simulated": {"details", "sim_run_dir"},
    "profile": {
        *("details", "workload_id", "workload_sha256", "workload_dir"),
        *("profiling_root", "real_run_dir", "sim_run_dir"),
    },
    "comparison": {"details", "params", "profiling_root", "real_run_dir", "sim_run_dir"},
}


def check_schema_version(path: Path, data: dict[str, Any], newest: int) -> None:
    """Raises `ArtifactError` unless the metadata in `path` are of schema version 1 to `newest`.

    Some files of the first releases say none, which is 1.
    """
    found = data.get("schema_version", 1)
    if type(found) is not int or found < 1:
        raise ArtifactError(
            f"{path}: schema_version is {found!r}, and must be a whole number of at least 1: take "
            "the file anew from where it came from"
        )
    if found > newest:
        commit = data.get("git_commit")
        written = f", which was at commit {commit:.12}" if isinstance(commit, str) else ""
        raise ArtifactError(
            f"{path} is of schema version {found}, and this release reads up to {newest}: read it "
            f"with the release that wrote it{written}, or a later one"
        )


def upgrade_run_meta(data: dict[str, Any]) -> dict[str, Any]:
    """A `run_meta.json` as schema version 2 has it."""
    if data.get("schema_version", 1) != 1:
        return data
    run_type = str(data.get("run_type", ""))
    run_type = RUN_TYPES.get(run_type, run_type)
    details = _details(data)
    upgraded = {
        **{name: value for name, value in data.items() if name not in _DROPPED.get(run_type, ())},
        **{_RENAMED_DETAILS.get(name, name): value for name, value in details.items()},
        "schema_version": 2,
        "run_type": run_type,
    }
    if run_type == "simulated":
        predictor = details.get("predictor")
        upgraded["simulator"] = "vidur"
        upgraded["predictor"] = PREDICTORS.get(str(predictor), predictor)
        upgraded["backend"] = _backend_of_simulation(data)
    return upgraded


def _backend_of_simulation(data: dict[str, Any]) -> str:
    """Version 1 said it in the run's id alone: `<workload>--<model>--<hardware>--<backend>--…`."""
    prefix = f"{data.get('workload_id')}--{data.get('model')}--{data.get('hardware')}--"
    run_id = str(data.get("run_id", ""))
    if not run_id.startswith(prefix):
        return "vllm"
    return run_id.removeprefix(prefix).split("--")[0].replace("-", "_")


def upgrade_workload_meta(data: dict[str, Any]) -> dict[str, Any]:
    """A `workload_meta.json` as schema version 2 has it."""
    if data.get("schema_version", 1) != 1:
        return data
    plain = {name: value for name, value in data.items() if name != "details"}
    return {**plain, **_details(data), "schema_version": 2}


def _details(data: dict[str, Any]) -> dict[str, Any]:
    """Without them, their fields are missing, which is refused by name."""
    found = data.get("details")
    return found if isinstance(found, dict) else {}

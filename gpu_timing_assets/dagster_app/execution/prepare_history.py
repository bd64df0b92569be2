"""Creates the history's tables before several processes try to at once, which corrupts SQLite's for
good.

`python -m gpu_timing_assets.dagster_app.execution.prepare_history` does it for the instance of
`DAGSTER_HOME` or `./dagster.yaml`.
"""

import os
from pathlib import Path

import dagster as dg


def prepare_history(instance: dg.DagsterInstance) -> None:
    instance.run_storage.get_runs_count()
    instance.event_log_storage.get_concurrency_keys()
    if instance.schedule_storage is not None:
        instance.schedule_storage.all_instigator_state()


def instance_folder() -> str:
    """Where the instance's `dagster.yaml` lies."""
    return os.environ.get("DAGSTER_HOME") or str(Path.cwd())


def main() -> None:
    with dg.DagsterInstance.from_config(instance_folder()) as instance:
        prepare_history(instance)


if __name__ == "__main__":
    main()

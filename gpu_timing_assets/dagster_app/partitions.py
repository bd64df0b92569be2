"""One partition per workload preset: the file's name is partition key and `workload_id`."""

import dagster as dg

from gpu_timing_assets.config.experiment import preset_names
from gpu_timing_assets.core.data_root import WORKLOAD_ID_PATTERN, check_name


def workload_partition_keys() -> list[str]:
    """Raises `PresetError` for a file name that cannot be a partition key (Dagster's page splits on
    `/`, `,` and `...`).
    """
    return [
        check_name(name, "workload preset", WORKLOAD_ID_PATTERN)
        for name in preset_names("workload")
    ]


WORKLOADS = dg.StaticPartitionsDefinition(workload_partition_keys())

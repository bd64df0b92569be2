"""Whether an asset's partition is missing, or not made from and by what is there now."""

import hashlib
from functools import cache

import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus

from gpu_timing_assets.config.experiment import PRESETS
from gpu_timing_assets.core.data_root import RESOURCES

PRESET_SHA256 = "preset_sha256"


def preset_sha256(workload_id: str) -> str:
    """The workload's preset as it is now, with the family and the prompt file that it names.

    `workload_spec` writes it into its materialization's metadata.
    """
    group = PRESETS / "workload"
    files = [group / f"{workload_id}.yaml"]
    text = files[0].read_text(encoding="utf-8")
    files += [
        family
        for family in sorted((group / "sweep").glob("*.yaml"))
        if f"sweep/{family.stem}@" in text
    ]
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    files += [
        prompts for prompts in sorted((RESOURCES / "prompts").iterdir()) if prompts.name in text
    ]
    return hashlib.sha256(
        b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)
    ).hexdigest()


# `AutomationContext` has no public way to staleness; this resolver is what the page itself shows
# "Unsynced" from.
class OutOfDate(dg.AutomationCondition[dg.AssetKey]):
    """True for what is missing or stale, and for all that lies downstream of it, so that one
    backfill makes all of it.

    Stale: the code version (it holds the engine's or Vidur's version), the data version of
    something upstream (the workload's hash, the bundle's), or the workload's preset differs from
    what the materialization was made with. It is judged from the history alone, so nothing is
    missed while the daemon is down.
    """

    @property
    def name(self) -> str:
        return "out_of_date"

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        view = context.asset_graph_view
        statuses = CachingStaleStatusResolver(view.instance, view.asset_graph, view)

        @cache
        def needed(key: dg.AssetKey, partition: str | None) -> bool:
            node = view.asset_graph.get(key)
            own = partition if node.is_partitioned else None
            if statuses.get_status(key, own) != StaleStatus.FRESH or _preset_changed(
                view.instance, key, own
            ):
                return True
            # an unpartitioned asset below partitioned ones (the matrix) follows them by its own
            # condition
            return any(
                needed(parent, partition)
                for parent in node.parent_keys
                if partition is not None or not view.asset_graph.get(parent).is_partitioned
            )

        candidates = context.candidate_subset
        if context.partitions_def is None:
            return dg.AutomationResult(
                context, candidates if needed(context.key, None) else context.get_empty_subset()
            )
        keys = {
            key
            for key in candidates.expensively_compute_partition_keys()
            if needed(context.key, key)
        }
        return dg.AutomationResult(
            context, view.get_subset_from_partition_keys(context.key, context.partitions_def, keys)
        )


def _preset_changed(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str | None) -> bool:
    if partition is None:
        return False
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(key, asset_partitions=[partition]), limit=1
    ).records
    made = records[0].asset_materialization if records else None
    written = made.metadata.get(PRESET_SHA256) if made else None
    return written is not None and written.value != preset_sha256(partition)

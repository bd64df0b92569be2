"""Splitwise's trace, as Vidur ships it."""

from gpu_timing_assets.workload.times import NS_PER_S
from gpu_timing_assets.workload.traces.trace_format import CsvTrace, TraceColumns

PLUGIN = CsvTrace(
    name="splitwise",
    title="Splitwise, as Vidur ships it",
    licence="CC-BY (from Azure's)",
    columns=TraceColumns(
        time="arrived_at",
        time_unit_ns=NS_PER_S,
        prefill="num_prefill_tokens",
        decode="num_decode_tokens",
    ),
)

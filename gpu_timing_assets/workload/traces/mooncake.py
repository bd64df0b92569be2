"""Mooncake's trace: times in milliseconds, prefixes shared by blocks of 512 tokens."""

from gpu_timing_assets.workload.traces.trace_format import BlockHashTrace, TraceColumns

PLUGIN = BlockHashTrace(
    name="mooncake",
    title="Mooncake",
    licence="Apache-2.0",
    columns=TraceColumns(
        time="timestamp", time_unit_ns=1_000_000, prefill="input_length", decode="output_length"
    ),
    blocks_field="hash_ids",
    block_size_tokens=512,
)

"""Qwen Bailian's trace: times in seconds, prefixes shared by blocks of 16 tokens."""

from gpu_timing_assets.workload.times import NS_PER_S
from gpu_timing_assets.workload.traces.trace_format import BlockHashTrace, TraceColumns

PLUGIN = BlockHashTrace(
    name="qwen_bailian",
    title="Qwen Bailian",
    licence="not stated",
    columns=TraceColumns(
        time="timestamp", time_unit_ns=NS_PER_S, prefill="input_length", decode="output_length"
    ),
    blocks_field="hash_ids",
    block_size_tokens=16,
)

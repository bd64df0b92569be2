"""Azure's trace of 2024, to 100 ns."""

from gpu_timing_assets.workload.traces.trace_format import CsvTrace, TraceColumns

PLUGIN = CsvTrace(
    name="azure_2024",
    title="Azure LLM inference 2024",
    licence="CC-BY",
    columns=TraceColumns(time="TIMESTAMP", prefill="ContextTokens", decode="GeneratedTokens"),
)

"""Azure's trace of 2023, to 100 ns."""

from gpu_timing_assets.workload.traces.trace_format import CsvTrace, TraceColumns

PLUGIN = CsvTrace(
    name="azure_2023",
    title="Azure LLM inference 2023",
    licence="CC-BY",
    columns=TraceColumns(time="TIMESTAMP", prefill="ContextTokens", decode="GeneratedTokens"),
)

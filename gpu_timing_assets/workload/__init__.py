"""The workload stage: from prompts, a public trace or length and arrival processes to one immutable
directory.
"""

from gpu_timing_assets.core.closed_loop import read_closed_loop
from gpu_timing_assets.core.prompts import read_prompt_token_ids as read_workload_prompts
from gpu_timing_assets.workload.spec import WorkloadInputs, run

__all__ = ["WorkloadInputs", "read_closed_loop", "read_workload_prompts", "run"]

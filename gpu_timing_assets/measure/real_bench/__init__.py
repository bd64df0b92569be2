"""Stage `real-bench`: replay a workload on a real engine and write down when each token reached the
client.
"""

from gpu_timing_assets.measure.real_bench.file_runs import RealBenchInputs, RealBenchResult, run

__all__ = ["RealBenchInputs", "RealBenchResult", "run"]

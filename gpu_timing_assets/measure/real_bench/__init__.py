"""Stage `real-bench`: replays a workload on a real engine and notes each token's arrival."""

from gpu_timing_assets.measure.real_bench.file_runs import RealBenchInputs, RealBenchResult, run

__all__ = ["RealBenchInputs", "RealBenchResult", "run"]

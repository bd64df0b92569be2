"""Stage `vidur-profile`: measures a target's kernels, its host and the client's latency."""

from gpu_timing_assets.engine_loop.bundle import validate_profiling_root
from gpu_timing_assets.measure.profiling.measure_bundle import run
from gpu_timing_assets.measure.profiling.repeat_bundle import run_repeatedly

__all__ = ["run", "run_repeatedly", "validate_profiling_root"]

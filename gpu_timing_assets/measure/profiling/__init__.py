"""Stage `vidur-profile`: measure what a simulation of a target needs to know: kernels, host, client
latency.
"""

from gpu_timing_assets.engine_loop.bundle import validate_profiling_root
from gpu_timing_assets.measure.profiling.measure_bundle import run

__all__ = ["run", "validate_profiling_root"]

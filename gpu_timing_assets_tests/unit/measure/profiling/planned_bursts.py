"""All the bursts that a profile plays, with made-up times where a real one takes those that it
measured.
"""

from gpu_timing_assets.config.profiling import ProfilingPreset
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.measure.profiling.burst_plan import (
    Burst,
    decode_bursts,
    idle_burst,
    injection_bursts,
    prefill_bursts,
    storm_bursts,
)


def planned_bursts(grid: ProfilingPreset, params: EngineParams, seed: int) -> list[Burst]:
    decode_step_ms = {size: 2.0 + size / 64 for size in grid.burst_decode_batch_sizes}
    prefill_ms = {length: 5.0 + length / 100 for length in grid.burst_prefill_tokens}
    repeats = range(grid.burst_repeats)
    return [
        *decode_bursts(grid, params),
        *(idle_burst(grid, params, seed + repeat) for repeat in repeats),
        *(
            burst
            for repeat in repeats
            for burst in injection_bursts(grid, params, decode_step_ms, seed, repeat)
        ),
        *prefill_bursts(grid, params, prefill_ms),
        *(
            burst
            for repeat in repeats
            for burst in storm_bursts(grid, params, decode_step_ms, prefill_ms, seed, repeat)
        ),
    ]

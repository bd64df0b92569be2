"""The clock of one turn of the loop, under fits that are set by hand."""

from dataclasses import replace

import numpy as np
import pytest

from gpu_timing_assets.engine_loop.gpu import GpuScale
from gpu_timing_assets.engine_loop.interpolation import Curve
from gpu_timing_assets.engine_loop.loop_timing import LoopTiming
from gpu_timing_assets.engine_loop.step import Step
from gpu_timing_assets_tests.unit.engine_loop.plain_loop import serve
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import engine_params, kernel_times


def test_a_mixed_step_is_slowed_by_the_mixed_kernels_before_it_and_not_by_its_own(
    config, timing
) -> None:
    params = engine_params(config)
    # a hundred times as long: every step outlasts its launches
    kernels = kernel_times(params, 100)
    slope_per_ms = 0.001

    def chunk_ends_ms(slope: float) -> np.ndarray:
        """When the results of a prompt's two chunks are there, the same draws each time."""
        slowed = Curve((0.0, 1000.0), (1.0, 1.0 + 1000.0 * slope))
        gpu = replace(GpuScale.none(), mixed=slowed)
        loop = LoopTiming(params, kernels, replace(timing, gpu=gpu), seed=0)
        return serve([(128, 1, 0)], params, loop).steps["result_ns"].to_numpy() / 1e6

    first_ms, second_ms = (
        kernels.step_ms(
            Step(
                num_prefill_tokens=64,
                num_prefill_requests=1,
                prefill_attention_pairs=64 * computed + 64 * 65 // 2,
                num_outputs=outputs,
                padded_tokens=64,
            )
        )
        for computed, outputs in ((0, 0), (64, 1))
    )
    longer_ms = chunk_ends_ms(slope_per_ms) - chunk_ends_ms(0.0)
    assert longer_ms == pytest.approx([0.0, slope_per_ms * first_ms * second_ms], abs=1e-3)

"""A simulation of the synthetic engine takes as long as the synthetic engine does: fit, loop
and client together.
"""

import numpy as np
import pytest

from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import (
    LOOP,
    burst_tables,
    engine_params,
    kernel_times,
)


@pytest.mark.parametrize("batch_size", [1, 4, 8])
def test_decode_steps_follow_at_the_pace_of_the_bursts(simulated, config, batch_size) -> None:
    params = engine_params(config)
    steps, _, _ = burst_tables(params, kernel_times(params))
    decode_steps = steps[
        (steps["kind"] == "decode")
        & (steps["num_decode_requests"] == batch_size)
        & (steps["num_prefill_requests"] == 0)
    ]
    measured = decode_steps.groupby("burst")["update_end_ns"].diff().median()
    run = simulated([(16, 40, 0)] * batch_size, "engine_loop")
    decode = run.steps[
        (run.steps["num_decode_requests"] == batch_size) & (run.steps["num_prefill_requests"] == 0)
    ]
    assert decode["result_ns"].diff().median() == pytest.approx(measured, rel=0.05)


@pytest.mark.parametrize(("length", "mode"), [(24, "piecewise"), (60, "eager")])
def test_a_prompt_on_an_idle_engine_takes_its_launch(simulated, length, mode) -> None:
    # nothing hides a launch when there is no step before it
    run = simulated([(length, 3, 100 * k) for k in range(20)], "engine_loop")
    first = run.steps[run.steps["num_prefill_requests"] == 1]
    duration_ms = (first["result_ns"] - first["schedule_begin_ns"]).median() / 1e6
    assert duration_ms > LOOP.launch_ms(mode, 1)
    assert duration_ms == pytest.approx(
        LOOP.launch_ms(mode, 1) + LOOP.schedule[0] + LOOP.update[0], rel=0.35
    )


def test_a_launch_delays_the_results_of_the_step_before_it(simulated) -> None:
    # request 0 decodes alone at its pace; the arrival's prompt is launched while its result waits
    run = simulated([(8, 60, 0), (60, 2, 25)], "engine_loop")
    tokens_of_first = run.token_ns[run.token_request == 0]
    gaps_ms = np.diff(tokens_of_first) / 1e6
    assert gaps_ms.max() > 0.9 * LOOP.launch_ms("eager", 2)
    assert np.median(gaps_ms) < 0.5 * gaps_ms.max()

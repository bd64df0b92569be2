"""A simulation of the synthetic engine takes as long as the synthetic engine does: fit, loop
and client together.
"""

import numpy as np
import pytest

from gpu_timing_assets_tests.unit.simulators.planted_engine import LOOP
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import engine_params, recorded_bursts


@pytest.mark.parametrize("batch_size", [1, 4, 8])
def test_decode_steps_follow_at_the_pace_of_the_bursts(simulated, config, batch_size) -> None:
    params = engine_params(config)
    steps = recorded_bursts(params).steps
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
def test_a_prompt_on_an_idle_engine_takes_as_long_as_it_did(
    simulated, config, length, mode
) -> None:
    params = engine_params(config)
    steps = recorded_bursts(params).steps
    prompts = steps[(steps["kind"] == "idle") & (steps["graph_mode"] == mode)]
    measured_ms = (prompts["update_end_ns"] - prompts["schedule_begin_ns"]).median() / 1e6
    run = simulated([(length, 3, 100 * k) for k in range(20)], "engine_loop")
    first = run.steps[run.steps["num_prefill_requests"] == 1]
    duration_ms = (first["result_ns"] - first["schedule_begin_ns"]).median() / 1e6
    assert duration_ms == pytest.approx(measured_ms, rel=0.03)
    assert duration_ms > LOOP.execute_ms(mode, 1)


def test_an_execution_delays_the_results_of_the_step_before_it(simulated) -> None:
    # request 0 decodes alone at its pace; the arrival's prompt is launched while its result waits
    run = simulated([(8, 60, 0), (60, 2, 25)], "engine_loop")
    tokens_of_first = run.token_ns[run.token_request == 0]
    gaps_ms = np.diff(tokens_of_first) / 1e6
    assert gaps_ms.max() > 0.9 * LOOP.execute_ms("eager", 2)
    assert np.median(gaps_ms) < 0.5 * gaps_ms.max()

"""What a bundle's fits expect of the host's probe: the planted host's time, at its mean pace."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from gpu_timing_assets.engine_loop.expected_probe import expected_probe
from gpu_timing_assets.engine_loop.fit.engine import fit_engine_timing
from gpu_timing_assets.engine_loop.host import HostPace
from gpu_timing_assets_tests.unit.simulators.planted_engine import LOOP, Loop, record_bursts
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import (
    engine_params,
    kernel_times,
    target_config,
)


def host_ms(loop: Loop, mode: str, requests: int) -> float:
    parts = (loop.schedule, loop.sample, loop.update)
    return loop.execute_ms(mode, requests) + sum(a + b * requests for a, b in parts)


def expected(tmp_path: Path, loop: Loop, *, asynchronous: bool = True):
    params = engine_params(target_config(tmp_path), async_scheduling=asynchronous)
    kernels = kernel_times(params)
    recorded = record_bursts(params, kernels, loop)
    timing = fit_engine_timing(recorded.steps, recorded.requests, params, kernels)
    return expected_probe(params, kernels, timing)


def test_it_is_the_hosts_own_time_of_the_probes_steps(tmp_path: Path) -> None:
    found = expected(tmp_path, LOOP)
    assert found.decode_1_ms == pytest.approx(host_ms(LOOP, "full", 1), rel=0.03)
    assert found.decode_8_ms == pytest.approx(host_ms(LOOP, "full", 8), rel=0.03)
    assert found.mixed_ms == pytest.approx(host_ms(LOOP, "eager", 9), rel=0.03)


def test_of_a_host_that_is_slower_it_is_as_much_longer(tmp_path: Path) -> None:
    steady, slower = (
        expected(tmp_path, dataclasses.replace(LOOP, paces=paces)) for paces in ((1.0,), (1.5,))
    )
    assert slower.decode_8_ms / steady.decode_8_ms == pytest.approx(1.5, rel=0.02)
    assert slower.mixed_ms / steady.mixed_ms == pytest.approx(1.5, rel=0.02)


def test_a_slow_window_counts_for_the_fewer_steps_that_it_holds() -> None:
    # in as long a time ten steps at a pace of 1, five at 2
    assert HostPace(np.array([1.0, 2.0])).of_steps == pytest.approx((10 * 1 + 5 * 2) / 15)


def test_a_synchronous_engines_steps_hold_their_computation(tmp_path: Path) -> None:
    found = expected(tmp_path, LOOP, asynchronous=False)
    assert found.mixed_ms > found.decode_8_ms > found.decode_1_ms > host_ms(LOOP, "full", 1)

"""What the loop's tests share: the synthetic target, its fits, and a loop over a few requests."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.engine_loop.fit.engine import fit_engine_timing
from gpu_timing_assets.engine_loop.loop_timing import EngineTiming, KernelsOnly, LoopTiming
from gpu_timing_assets_tests.unit.engine_loop.plain_loop import Served, serve
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import (
    engine_params,
    kernel_times,
    recorded_bursts,
    target_config,
)


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> ExperimentConfig:
    return target_config(tmp_path_factory.mktemp("unused"))


@pytest.fixture(scope="session")
def timing(config: ExperimentConfig) -> EngineTiming:
    params = engine_params(config)
    kernels = kernel_times(params)
    recorded = recorded_bursts(params)
    return fit_engine_timing(recorded.steps, recorded.requests, params, kernels)


@pytest.fixture
def simulated(config: ExperimentConfig, timing: EngineTiming) -> Callable[..., Served]:
    """`simulated([(prompt, outputs, arrival_ms), …], "kernels_only", **engine parameters)`."""

    def run(
        requests: Sequence[tuple[int, int, float]], predictor: str = "kernels_only", **changes: Any
    ) -> Served:
        params = engine_params(config, **changes)
        kernels = kernel_times(params)
        chosen = (
            KernelsOnly(params, kernels)
            if predictor == "kernels_only"
            else LoopTiming(params, kernels, timing, seed=0)
        )
        return serve(requests, params, chosen)

    return run

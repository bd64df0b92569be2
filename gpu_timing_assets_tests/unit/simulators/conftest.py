"""What the simulator's tests share: a tiny bundle, made once, and a simulation of a few requests on
it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.engine_loop.engine_timing import EngineTiming, fit_engine_timing
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import (
    burst_tables,
    engine_params,
    kernel_times,
    target_config,
    write_bundle,
)


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> ExperimentConfig:
    return target_config(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def bundle(config: ExperimentConfig) -> Path:
    """The bundle's root; nobody writes to it."""
    return write_bundle(config.data.profiling_root(config.hardware.name, config.model.name), config)


@pytest.fixture(scope="session")
def timing(config: ExperimentConfig) -> EngineTiming:
    params = engine_params(config)
    kernels = kernel_times(params)
    return fit_engine_timing(*burst_tables(params, kernels)[:2], params, kernels)


@dataclass(frozen=True)
class Simulated:
    """The engine's steps, who was in them, and every token's request and time."""

    params: EngineParams
    steps: pd.DataFrame
    batches: pd.DataFrame
    token_request: np.ndarray
    token_ns: np.ndarray

    def batch(self, step: int) -> dict[int, int]:
        """Request → tokens scheduled in that step."""
        rows = self.batches[self.batches["step"] == step]
        return dict(
            zip(rows["request_id"].tolist(), rows["num_scheduled_tokens"].tolist(), strict=True)
        )

    @property
    def order(self) -> list[list[int]]:
        """The requests of each step, in the order in which the scheduler chose them."""
        return [group["request_id"].tolist() for _, group in self.batches.groupby("step")]

    def outputs(self, request: int) -> int:
        return int((self.token_request == request).sum())


@pytest.fixture
def simulated(config: ExperimentConfig, timing: EngineTiming) -> Callable[..., Simulated]:
    """`simulated([(prompt, outputs, arrival_ms), …], predictor="kernel", **engine parameters)`."""
    from gpu_timing_assets.simulators.vidur_ext.predictors import (
        EnginePredictorConfig,
        KernelPredictorConfig,
    )
    from gpu_timing_assets.simulators.vidur_ext.simulation import SimulatedWork, simulate

    def run(
        requests: Sequence[tuple[int, int, float]], predictor: str = "kernel", **changes: Any
    ) -> Simulated:
        params = engine_params(config, **changes)
        kernels = kernel_times(params)
        chosen = (
            KernelPredictorConfig(params=params, kernels=kernels)
            if predictor == "kernel"
            else EnginePredictorConfig(params=params, kernels=kernels, timing=timing, seed=0)
        )
        prompt, outputs, arrival_ms = (np.array(column) for column in zip(*requests, strict=True))
        log = simulate(
            config.model.name,
            config.hardware,
            params,
            SimulatedWork(arrival_ms / 1e3, prompt, outputs),
            chosen,
        )
        token_request, token_ns = log.token_times(
            lambda num_outputs, position, after_idle: np.zeros(len(position))
        )
        return Simulated(params, *log.tables(), token_request, token_ns)

    return run

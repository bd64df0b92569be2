"""Vidur's event loop over requests, with a scheduler and a predictor from its registries."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
from vidur.config import (
    BaseRequestGeneratorConfig,
    CacheConfig,
    ClusterConfig,
    MetricsConfig,
    ReplicaConfig,
    SimulationConfig,
)
from vidur.config.config import BaseExecutionTimePredictorConfig, BaseReplicaSchedulerConfig
from vidur.entities import Replica, Request
from vidur.execution_time_predictor.execution_time_predictor_registry import (
    ExecutionTimePredictorRegistry,
)
from vidur.request_generator.base_request_generator import BaseRequestGenerator
from vidur.request_generator.request_generator_registry import RequestGeneratorRegistry
from vidur.scheduler.replica_scheduler.replica_scheduler_registry import ReplicaSchedulerRegistry
from vidur.simulator import Simulator
from vidur.types import BaseIntEnum, DeviceSKUType, NodeSKUType

from gpu_timing_assets.config.hardware import HardwarePreset
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.errors import PresetError
from gpu_timing_assets.simulators.vidur_ext.model_config import register_model
from gpu_timing_assets.simulators.vidur_ext.random_forest import RandomForestPredictor
from gpu_timing_assets.simulators.vidur_ext.replica_scheduler import (
    LoopReplicaScheduler,
    LoopSchedulerType,
)
from gpu_timing_assets.simulators.vidur_ext.step_predictor import PredictorType, StepPredictor


class _WorkloadGeneratorType(BaseIntEnum):
    WORKLOAD = 100


@dataclass
class _WorkloadGeneratorConfig(BaseRequestGeneratorConfig):
    """`lengths`: a workload's `trace_lengths`. `visible_s`: when each request can first be
    scheduled, shape (requests,), not necessarily sorted.
    """

    lengths: pd.DataFrame | None = None
    visible_s: np.ndarray | None = None

    @staticmethod
    def get_type() -> _WorkloadGeneratorType:
        return _WorkloadGeneratorType(_WorkloadGeneratorType.WORKLOAD)


class _WorkloadGenerator(BaseRequestGenerator):
    """Request ids are those of the workload: 0 … n−1."""

    def generate_requests(self) -> list[Request]:
        lengths = self.config.lengths
        columns = (lengths[f"num_{part}_tokens"].tolist() for part in ("prefill", "decode"))
        return [
            Request(at, prefill, decode)
            for at, prefill, decode in zip(self.config.visible_s.tolist(), *columns, strict=True)
        ]


class _UnwrittenConfig(SimulationConfig):
    """Not written to disk: it carries tables, and the stage writes a snapshot of its own."""

    def write_config_to_file(self) -> None:
        return None


def _check_hardware(hardware: HardwarePreset) -> None:
    for field, kind in (("vidur_device", DeviceSKUType), ("vidur_network_device", NodeSKUType)):
        name, known = getattr(hardware, field), [str(one) for one in kind]
        if name not in known:
            raise PresetError(f"hardware.{field}={name!r} is none of Vidur's: {', '.join(known)}")


def run_event_loop(
    model: str,
    hardware: HardwarePreset,
    params: EngineParams,
    lengths: pd.DataFrame,
    visible_s: np.ndarray,
    scheduler: BaseReplicaSchedulerConfig,
    predictor: BaseExecutionTimePredictorConfig,
) -> None:
    """Serve requests of these `lengths` (`trace_lengths`), from when each can be scheduled; what
    happened is with `scheduler` and `predictor`. Raises `PresetError` for hardware that Vidur does
    not know.
    """
    _check_hardware(hardware)
    RequestGeneratorRegistry.register(_WorkloadGeneratorType.WORKLOAD, _WorkloadGenerator)
    ReplicaSchedulerRegistry.register(LoopSchedulerType.ENGINE_LOOP, LoopReplicaScheduler)
    ExecutionTimePredictorRegistry.register(PredictorType.WHOLE_STEP, StepPredictor)
    ExecutionTimePredictorRegistry.register(PredictorType.RANDOM_FOREST, RandomForestPredictor)
    register_model(model, params.model_dimensions)
    longest = int((lengths["num_prefill_tokens"] + lengths["num_decode_tokens"]).max())
    # Vidur numbers requests and replicas by counters of the process; here they are the workload's
    Request._id = Replica._id = -1
    with tempfile.TemporaryDirectory(prefix="vidur-") as scratch, _log_silenced():
        unwritten = MetricsConfig(
            write_metrics=False, enable_chrome_trace=False, store_plots=False, output_dir=scratch
        )
        config = _UnwrittenConfig(
            log_level="error",
            cluster_config=ClusterConfig(
                replica_config=ReplicaConfig(
                    model_name=model,
                    num_pipeline_stages=1,
                    tensor_parallel_size=params.tensor_parallel_size,
                    device=hardware.vidur_device,
                    network_device=hardware.vidur_network_device,
                ),
                cache_config=CacheConfig(
                    block_size=params.kv_block_size, num_blocks=params.num_kv_blocks
                ),
                replica_scheduler_config=scheduler,
            ),
            request_generator_config=_WorkloadGeneratorConfig(
                max_tokens=longest, lengths=lengths, visible_s=visible_s
            ),
            execution_time_predictor_config=predictor,
            metrics_config=unwritten,
        )
        Simulator(config).run()


@contextmanager
def _log_silenced() -> Iterator[None]:
    """Keeps Vidur's log (it calls the missing hub an error) out of ours."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)

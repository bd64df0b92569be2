"""One Vidur simulation: configuration, registration of what this project adds, and the run."""

import gc
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from vidur.config import CacheConfig, ClusterConfig, MetricsConfig, ReplicaConfig, SimulationConfig
from vidur.config.config import BaseExecutionTimePredictorConfig
from vidur.entities import Replica, Request
from vidur.execution_time_predictor.execution_time_predictor_registry import (
    ExecutionTimePredictorRegistry,
)
from vidur.request_generator.request_generator_registry import RequestGeneratorRegistry
from vidur.scheduler.replica_scheduler.replica_scheduler_registry import ReplicaSchedulerRegistry
from vidur.simulator import Simulator

from gpu_timing_assets.config.hardware import HardwarePreset
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.simulators.vidur_ext.model_config import register_model
from gpu_timing_assets.simulators.vidur_ext.predictors import (
    EnginePredictor,
    KernelPredictor,
    PredictorType,
    RecordedPredictor,
)
from gpu_timing_assets.simulators.vidur_ext.recorded_batches_scheduler import (
    RecordedBatchesScheduler,
    RecordedBatchesSchedulerConfig,
)
from gpu_timing_assets.simulators.vidur_ext.step_log import StepLog
from gpu_timing_assets.simulators.vidur_ext.stock_predictor import StockPredictor, silence
from gpu_timing_assets.simulators.vidur_ext.vllm_v1_scheduler import (
    VllmV1ReplicaScheduler,
    VllmV1SchedulerConfig,
    VllmV1SchedulerType,
)
from gpu_timing_assets.simulators.vidur_ext.workload_requests import (
    WorkloadRequestGenerator,
    WorkloadRequestGeneratorConfig,
    WorkloadRequestGeneratorType,
)


class _UnwrittenConfig(SimulationConfig):
    """Not written to disk as JSON: it carries tables, and the stage writes a snapshot of its
    own.
    """

    def write_config_to_file(self) -> None:
        return None


@dataclass(frozen=True)
class SimulatedWork:
    """The requests as the engine sees them; arrays of shape (requests,)."""

    visible_s: np.ndarray
    num_prefill_tokens: np.ndarray
    num_decode_tokens: np.ndarray


def simulate(
    model: str,
    hardware: HardwarePreset,
    params: EngineParams,
    work: SimulatedWork,
    predictor: BaseExecutionTimePredictorConfig,
    recorded_batches: pd.DataFrame | None = None,
    after_idle: frozenset[int] = frozenset(),
) -> StepLog:
    """Run Vidur's event loop over `work` and return what the engine did.

    With `recorded_batches` these are replayed in place of the scheduler's decisions; steps in
    `after_idle` wait for the step before them.
    """
    _register()
    register_model(model, params.model_dimensions)
    log = StepLog()
    longest = int((work.num_prefill_tokens + work.num_decode_tokens).max())
    scheduler: VllmV1SchedulerConfig = (
        VllmV1SchedulerConfig(batch_size_cap=params.max_num_seqs, params=params, log=log)
        if recorded_batches is None
        else RecordedBatchesSchedulerConfig(
            batch_size_cap=params.max_num_seqs,
            params=params,
            log=log,
            recorded=recorded_batches,
            after_idle=after_idle,
        )
    )
    # Vidur numbers requests and replicas by counters of the process; here they are the workload's
    Request._id = Replica._id = -1
    with tempfile.TemporaryDirectory(prefix="vidur-") as scratch, silence():
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
            request_generator_config=WorkloadRequestGeneratorConfig(
                max_tokens=longest,
                visible_s=work.visible_s,
                num_prefill_tokens=work.num_prefill_tokens,
                num_decode_tokens=work.num_decode_tokens,
            ),
            execution_time_predictor_config=predictor,
            metrics_config=MetricsConfig(
                write_metrics=False,
                enable_chrome_trace=False,
                store_plots=False,
                output_dir=str(Path(scratch)),
            ),
        )
        with _uncollected():
            Simulator(config).run()
    return log


@contextmanager
def _uncollected() -> Iterator[None]:
    """The steps of a run are all kept and hold no cycles: looking for garbage among them takes a
    third of the time.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _register() -> None:
    RequestGeneratorRegistry.register(
        WorkloadRequestGeneratorType.WORKLOAD, WorkloadRequestGenerator
    )
    ReplicaSchedulerRegistry.register(VllmV1SchedulerType.VLLM_V1, VllmV1ReplicaScheduler)
    ReplicaSchedulerRegistry.register(
        VllmV1SchedulerType.RECORDED_BATCHES, RecordedBatchesScheduler
    )
    for kind, predictor in (
        (PredictorType.KERNEL, KernelPredictor),
        (PredictorType.ENGINE, EnginePredictor),
        (PredictorType.STOCK, StockPredictor),
        (PredictorType.RECORDED, RecordedPredictor),
    ):
        ExecutionTimePredictorRegistry.register(kind, predictor)

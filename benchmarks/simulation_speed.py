"""How long a simulation of 6,000 requests (about 900,000 output tokens) takes, against Vidur's bare
event loop.

`python benchmarks/simulation_speed.py [--requests 6000] [--repeats 3] [--no-stock]`

Side by side, alternating: predictor `engine`, from reading the bundle to written tables; Vidur's
own Sarathi scheduler with a predictor that always says the same (the mean step of `engine`), which
is all that Vidur itself costs; and `stock` on the same bundle, with its tables trained beforehand
(which is timed once). Takes the reference bundle of Qwen3-0.6B if it is there, a synthetic one
otherwise. Exits with 1 if `engine` takes more than 1.5 × the bare loop.
"""

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from vidur.config import CacheConfig, ClusterConfig, MetricsConfig, ReplicaConfig
from vidur.config.config import BaseExecutionTimePredictorConfig, SarathiSchedulerConfig
from vidur.entities import Replica, Request
from vidur.execution_time_predictor.execution_time_predictor_registry import (
    ExecutionTimePredictorRegistry,
)
from vidur.simulator import Simulator
from vidur.types import BaseIntEnum

from gpu_timing_assets.config.experiment import ExperimentConfig, compose
from gpu_timing_assets.core.bundle import ENGINE_FILE
from gpu_timing_assets.core.data_root import REFERENCE_DATA
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.files import read_metadata
from gpu_timing_assets.core.run import RunMeta
from gpu_timing_assets.simulators import vidur_ext
from gpu_timing_assets.simulators.vidur_ext import simulation
from gpu_timing_assets.simulators.vidur_ext.engine_step import LoopTime
from gpu_timing_assets.simulators.vidur_ext.model_config import register_model
from gpu_timing_assets.simulators.vidur_ext.predictors import _StepPredictor
from gpu_timing_assets.simulators.vidur_ext.stock_predictor import silence
from gpu_timing_assets.simulators.vidur_ext.workload_requests import WorkloadRequestGeneratorConfig
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import (
    target_config,
    write_bundle,
    write_workload,
)

MAX_RATIO = 1.5
REFERENCE_ROOT = REFERENCE_DATA / "h100" / "vidur_profiling" / "h100" / "qwen3-0.6b"


class ConstantType(BaseIntEnum):
    CONSTANT = 900


@dataclass
class ConstantConfig(BaseExecutionTimePredictorConfig):
    step_s: float = 0.005

    @staticmethod
    def get_type() -> ConstantType:
        return ConstantType.CONSTANT


class ConstantPredictor(_StepPredictor):
    """Every batch takes the same time."""

    def __init__(self, predictor_config, replica_config, cache_config) -> None:  # type: ignore[no-untyped-def]
        super(_StepPredictor, self).__init__(predictor_config, replica_config, cache_config)
        self._time = LoopTime(predictor_config.step_s)

    def get_execution_time(self, batch, pipeline_stage: int) -> LoopTime:  # type: ignore[no-untyped-def,override]
        return self._time


@dataclass(frozen=True)
class Work:
    config: ExperimentConfig
    bundle: Path
    workload_dir: Path
    arrival_s: np.ndarray
    prefill: np.ndarray
    decode: np.ndarray


def make_work(root: Path, requests: int) -> Work:
    if REFERENCE_ROOT.is_dir():
        config = compose(
            [
                "model=qwen3-0.6b",
                "hardware=h100",
                "backend=vllm",
                "profiling=standard",
                f"data_root={root}",
            ]
        )
        bundle, scale = REFERENCE_ROOT, 1.0
    else:
        config = target_config(root)
        bundle, scale = write_bundle(config.data.profiling_root("h100", "qwen3-tiny"), config), 0.1
    rng = np.random.default_rng(0)
    prefill = rng.integers(16, round(1024 * scale) + 17, requests)
    decode = rng.integers(50, 251, requests)
    arrival_s = np.cumsum(rng.exponential(1 / (20 if scale == 1.0 else 4), requests))
    workload_dir = write_workload(
        root / "workloads" / "speed", prefill.tolist(), decode.tolist(), (arrival_s * 1e3).tolist()
    )
    return Work(config, bundle, workload_dir, arrival_s, prefill, decode)


def simulate(work: Work, predictor: str) -> tuple[float, RunMeta]:
    config = work.config.model_copy(
        update={"simulator": work.config.simulator.model_copy(update={"predictor": predictor})}
    )
    begin = time.perf_counter()
    meta = vidur_ext.run(
        config,
        vidur_ext.SimInputs(work.workload_dir, work.bundle),
        config.data.sim_run_dir(config.sim_run_id),
    )
    return time.perf_counter() - begin, meta


def bare_loop(work: Work, step_s: float) -> float:
    """Vidur alone: its requests, its Sarathi scheduler, its events."""
    simulation._register()
    ExecutionTimePredictorRegistry.register(ConstantType.CONSTANT, ConstantPredictor)
    params = read_metadata(work.bundle / ENGINE_FILE, EngineParams)
    register_model(work.config.model.name, params.model_dimensions)
    hardware = work.config.hardware
    begin = time.perf_counter()
    Request._id = Replica._id = -1
    with tempfile.TemporaryDirectory() as scratch, silence():
        Simulator(
            simulation._UnwrittenConfig(
                log_level="error",
                cluster_config=ClusterConfig(
                    replica_config=ReplicaConfig(
                        model_name=work.config.model.name,
                        num_pipeline_stages=1,
                        tensor_parallel_size=1,
                        device=hardware.vidur_device,
                        network_device=hardware.vidur_network_device,
                    ),
                    cache_config=CacheConfig(
                        block_size=params.kv_block_size, num_blocks=params.num_kv_blocks
                    ),
                    replica_scheduler_config=SarathiSchedulerConfig(
                        batch_size_cap=params.max_num_seqs, chunk_size=params.max_num_batched_tokens
                    ),
                ),
                request_generator_config=WorkloadRequestGeneratorConfig(
                    max_tokens=int((work.prefill + work.decode).max()),
                    visible_s=work.arrival_s,
                    num_prefill_tokens=work.prefill,
                    num_decode_tokens=work.decode,
                ),
                execution_time_predictor_config=ConstantConfig(step_s=step_s),
                metrics_config=MetricsConfig(
                    write_metrics=False,
                    enable_chrome_trace=False,
                    store_plots=False,
                    output_dir=scratch,
                ),
            )
        ).run()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=6000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-stock", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        work = make_work(Path(root), asked.requests)
        # the first of each also imports, compiles and, for stock, trains
        _, meta = simulate(work, "engine")
        step_s = meta.details["simulated_s"] / meta.details["steps"]
        bare_loop(work, step_s)
        predictors = ["engine"] if asked.no_stock else ["engine", "stock"]
        training_s = None if asked.no_stock else simulate(work, "stock")[0]
        times: dict[str, list[float]] = {"bare loop": [], **{name: [] for name in predictors}}
        for _ in range(asked.repeats):
            times["bare loop"].append(bare_loop(work, step_s))
            for name in predictors:
                times[name].append(simulate(work, name)[0])
    bare = statistics.median(times["bare loop"])
    ratios = {
        name: statistics.median(
            one / other for one, other in zip(column, times["bare loop"], strict=True)
        )
        for name, column in times.items()
    }
    print(
        f"{asked.requests:,} requests, {int(work.decode.sum()):,} output tokens, "
        f"{meta.details['steps']:,} steps of "
        f"{step_s * 1e3:.2f} ms; bundle: {work.bundle.name}; medians of {asked.repeats}"
    )
    for name, column in times.items():
        print(
            f"{name:10} {statistics.median(column):7.2f} s   {ratios[name]:5.2f} × the bare loop   "
            f"({min(column):.2f} to {max(column):.2f} s)"
        )
    if training_s is not None:
        print(
            f"stock trains its forests once per bundle: {training_s:.1f} s with the first "
            f"simulation"
        )
    print(
        f"of engine's time the event loop is "
        f"{meta.details['event_loop_s'] / meta.details['wall_s']:.0%}; bare loop {bare:.2f} s"
    )
    sys.exit(ratios["engine"] > MAX_RATIO)


if __name__ == "__main__":
    main()

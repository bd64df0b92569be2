"""How long a simulation of 6,000 requests (about 900,000 output tokens) takes, against Vidur's bare
event loop.

`python benchmarks/simulation_speed.py [--requests 6000] [--repeats 3] [--no-random-forest]`

Side by side, alternating: predictor `engine_loop`, from reading the bundle to written tables;
Vidur's own Sarathi scheduler with a predictor that always says the same (the mean step of
`engine_loop`), which is all that Vidur itself costs; and `random_forest` on the same bundle, with
its tables trained beforehand (which is timed once). Takes the reference bundle of Qwen3-0.6B. Exits
with 1 if `engine_loop` takes more than 1.5 × the bare loop.
"""

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from vidur.config.config import SarathiSchedulerConfig
from vidur.execution_time_predictor.execution_time_predictor_registry import (
    ExecutionTimePredictorRegistry,
)
from vidur.types import BaseIntEnum

from gpu_timing_assets import simulators
from gpu_timing_assets.config.experiment import ExperimentConfig, compose
from gpu_timing_assets.core.data_root import REFERENCE_DATA
from gpu_timing_assets.core.files import write_json
from gpu_timing_assets.core.run import SimRunMeta
from gpu_timing_assets.core.tables.schemas import TRACE_INTERVALS, TRACE_LENGTHS
from gpu_timing_assets.core.workload import (
    WORKLOAD_META_FILE,
    TokenizerMeta,
    WorkloadMeta,
    workload_sha256,
)
from gpu_timing_assets.engine_loop.bundle import read_bundle
from gpu_timing_assets.simulators.vidur_ext.event_loop import run_event_loop
from gpu_timing_assets.simulators.vidur_ext.step_predictor import StepPredictor, StepPredictorConfig

MAX_RATIO = 1.5
BUNDLE = REFERENCE_DATA / "h100" / "vidur_profiling" / "h100" / "qwen3-0.6b"
TARGET = ("model=qwen3-0.6b", "hardware=h100", "backend=vllm", "profiling=standard")


class ConstantType(BaseIntEnum):
    CONSTANT = 900


@dataclass
class ConstantConfig(StepPredictorConfig):
    step_s: float = 0.005

    @staticmethod
    def get_type() -> ConstantType:
        return ConstantType.CONSTANT


class ConstantPredictor(StepPredictor):
    """Every batch takes the same time."""

    def __init__(self, predictor_config, *args, **kwargs) -> None:  # type: ignore[no-untyped-def]
        super().__init__(predictor_config, *args, **kwargs)
        step_s = predictor_config.step_s
        self._time = SimpleNamespace(total_time=step_s, model_time=step_s)

    def get_execution_time(self, batch, pipeline_stage: int):  # type: ignore[no-untyped-def]
        return self._time


@dataclass(frozen=True)
class Work:
    config: ExperimentConfig
    workload_dir: Path
    lengths: pd.DataFrame
    arrival_s: np.ndarray


def make_work(root: Path, num_requests: int) -> Work:
    config = compose([*TARGET, f"data_root={root}"])
    rng = np.random.default_rng(0)
    ids = np.arange(num_requests)
    lengths = pd.DataFrame(
        {
            "request_id": ids,
            "prompt_id": [f"p{i}" for i in ids],
            "num_prefill_tokens": rng.integers(16, 1041, num_requests),
            "num_decode_tokens": rng.integers(50, 251, num_requests),
        }
    )
    arrival_s = np.cumsum(rng.exponential(1 / 20, num_requests))
    directory = config.data.workload_dir("speed")
    write_workload(directory, lengths, np.rint(arrival_s * 1e9).astype(np.int64))
    return Work(config, directory, lengths, arrival_s)


def write_workload(directory: Path, lengths: pd.DataFrame, arrival_ns: np.ndarray) -> None:
    """What a simulation reads of one: there are no prompts."""
    directory.mkdir(parents=True)
    intervals = {
        "request_id": lengths["request_id"],
        "inter_arrival_ns": np.diff(arrival_ns, prepend=0),
        "arrival_time_ns": arrival_ns,
    }
    files = (
        TRACE_LENGTHS.write(lengths, directory),
        TRACE_INTERVALS.write(pd.DataFrame(intervals), directory),
    )
    prefill, decode = lengths["num_prefill_tokens"], lengths["num_decode_tokens"]
    meta = WorkloadMeta(
        workload_id=directory.name,
        workload_sha256=workload_sha256(*(path.read_bytes() for path in files), "0"),
        num_requests=len(lengths),
        num_prefill_tokens=int(prefill.sum()),
        num_decode_tokens=int(decode.sum()),
        longest_request_tokens=int((prefill + decode).max()),
        duration_ns=int(arrival_ns[-1]),
        mean_rate_per_s=20.0,
        seed=0,
        tokenizer=TokenizerMeta(name="none", sha256="0", base_vocab_size=1000),
        source={"kind": "synthetic"},
        config_sha256="0",
    )
    write_json(directory / WORKLOAD_META_FILE, meta)


def simulate(work: Work, predictor: str) -> tuple[float, SimRunMeta]:
    config = work.config.model_copy(
        update={"simulator": work.config.simulator.model_copy(update={"predictor": predictor})}
    )
    begin = time.perf_counter()
    meta = simulators.run(
        config,
        simulators.SimInputs(work.workload_dir, BUNDLE),
        config.data.sim_run_dir(config.sim_run_id),
    )
    return time.perf_counter() - begin, meta


def bare_loop(work: Work, step_s: float) -> float:
    """Vidur alone: its requests, its Sarathi scheduler, its events."""
    ExecutionTimePredictorRegistry.register(ConstantType.CONSTANT, ConstantPredictor)
    params = read_bundle(BUNDLE, work.config).params
    begin = time.perf_counter()
    run_event_loop(
        work.config.model.name,
        work.config.hardware,
        params,
        work.lengths,
        work.arrival_s,
        SarathiSchedulerConfig(
            batch_size_cap=params.max_num_seqs, chunk_size=params.max_num_batched_tokens
        ),
        ConstantConfig(step_s=step_s),
    )
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=6000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-random-forest", action="store_true")
    asked = parser.parse_args()
    if not BUNDLE.is_dir():
        parser.error(f"{BUNDLE} is not there: the reference data is needed")
    with tempfile.TemporaryDirectory() as root:
        work = make_work(Path(root), asked.requests)
        # the first of each also imports, compiles and, for random_forest, trains
        _, meta = simulate(work, "engine_loop")
        step_s = meta.simulated_s / meta.num_steps
        bare_loop(work, step_s)
        predictors = ["engine_loop"] if asked.no_random_forest else ["engine_loop", "random_forest"]
        training_s = None if asked.no_random_forest else simulate(work, "random_forest")[0]
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
        f"{asked.requests:,} requests, {meta.num_tokens:,} output tokens, "
        f"{meta.num_steps:,} steps of "
        f"{step_s * 1e3:.2f} ms; bundle: {BUNDLE.name}; medians of {asked.repeats}"
    )
    for name, column in times.items():
        print(
            f"{name:13} {statistics.median(column):7.2f} s   {ratios[name]:5.2f} × the bare loop   "
            f"({min(column):.2f} to {max(column):.2f} s)"
        )
    if training_s is not None:
        print(
            f"random_forest trains its forests once per bundle: {training_s:.1f} s with the first "
            f"simulation"
        )
    print(
        f"of engine_loop's time the event loop is {meta.event_loop_s / meta.wall_s:.0%}; "
        f"bare loop {bare:.2f} s"
    )
    sys.exit(ratios["engine_loop"] > MAX_RATIO)


if __name__ == "__main__":
    main()

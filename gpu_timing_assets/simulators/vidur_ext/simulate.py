"""One simulation by Vidur: which time model, what is substituted, and the run tables of it."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits
from vidur.config.config import BaseExecutionTimePredictorConfig

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.bundle import compute_dir
from gpu_timing_assets.core.files import config_sha256
from gpu_timing_assets.core.tables.run_tables import run_tables_from_token_times
from gpu_timing_assets.core.tables.schemas import (
    BURST_REQUESTS,
    BURST_STEPS,
    ENGINE_BATCHES,
    ENGINE_STEPS,
)
from gpu_timing_assets.engine_loop.bundle import Bundle
from gpu_timing_assets.engine_loop.client import ClientLatency, ClientTiming
from gpu_timing_assets.engine_loop.expected_probe import expected_probe
from gpu_timing_assets.engine_loop.fit.engine import fit_engine_timing
from gpu_timing_assets.engine_loop.loop import EngineLoop, StepTiming
from gpu_timing_assets.engine_loop.loop_timing import KernelsOnly, LoopTiming
from gpu_timing_assets.engine_loop.recorded_batches import RecordedBatches, anchored_token_ns
from gpu_timing_assets.engine_loop.recorded_step_times import RecordedStepTimes
from gpu_timing_assets.engine_loop.step_tables import engine_batches, engine_steps, token_times
from gpu_timing_assets.engine_loop.vllm_v1_scheduler import VllmV1Scheduler
from gpu_timing_assets.simulators.base import SimulatedRun, Work
from gpu_timing_assets.simulators.vidur_ext import VidurPreset
from gpu_timing_assets.simulators.vidur_ext.event_loop import run_event_loop
from gpu_timing_assets.simulators.vidur_ext.host_ratio import probed_host_ratio
from gpu_timing_assets.simulators.vidur_ext.random_forest import RandomForestConfig
from gpu_timing_assets.simulators.vidur_ext.replica_scheduler import LoopSchedulerConfig
from gpu_timing_assets.simulators.vidur_ext.step_predictor import StepPredictorConfig


@dataclass(frozen=True)
class _TimeModel:
    """A predictor for Vidur, and the client that goes with it."""

    predictor: BaseExecutionTimePredictorConfig
    asynchronous: bool
    client: ClientTiming
    host_ratio: float | None = None


def simulate(
    work: Work, config: ExperimentConfig, bundle: Bundle | None, real_run_dir: Path | None
) -> SimulatedRun:
    """See `simulators.base.Simulate`.

    Raises `SimulationError` for a workload beyond the engine's context or the bundle's reach,
    `ProfilingBundleError` for bursts that cannot be fitted, `ArtifactError` for recorded tables
    that are malformed.
    """
    preset = config.simulator
    assert isinstance(preset, VidurPreset)
    assert bundle is not None
    extrapolated = bundle.check_reach(work.lengths, preset.max_extrapolation)
    model = _time_model(config, preset, bundle, real_run_dir)
    client = ClientLatency(model.client, np.random.default_rng([preset.seed, 1]))
    num_prefill_tokens = work.lengths["num_prefill_tokens"].to_numpy()
    visible_s = client.visible_s(work.arrival_time_ns / 1e9, num_prefill_tokens)
    recorded = None
    if preset.substitution == "recorded_batches":
        assert real_run_dir is not None
        recorded = ENGINE_STEPS.read(real_run_dir), ENGINE_BATCHES.read(real_run_dir)
        visible_s = np.zeros(len(work.lengths))
    params = bundle.params
    scheduler = RecordedBatches(params, *recorded) if recorded else VllmV1Scheduler(params)
    loop = EngineLoop(scheduler, asynchronous=model.asynchronous)
    begin = time.monotonic()
    with _uncollected():
        run_event_loop(
            config.model.name,
            config.hardware,
            params,
            work.lengths,
            visible_s,
            LoopSchedulerConfig(batch_size_cap=params.max_num_seqs, loop=loop),
            model.predictor,
        )
    event_loop_s = time.monotonic() - begin
    token_request, token_ns = token_times(loop.steps, client)
    steps, batches = engine_steps(loop.steps), engine_batches(loop.steps)
    if recorded:
        token_ns = anchored_token_ns(token_request, token_ns, (steps, batches), recorded)
    # a shorter delay of a later step must not make a request's tokens change places
    token_ns = pd.Series(token_ns).groupby(token_request).cummax().to_numpy()
    planned = work.lengths, work.arrival_time_ns
    requests, tokens = run_tables_from_token_times(*planned, token_request, token_ns)
    return SimulatedRun(
        requests=requests,
        tokens=tokens,
        params=params,
        steps=steps,
        batches=batches,
        predictor=preset.predictor,
        substitution=preset.substitution,
        seed=preset.seed,
        host_ratio=model.host_ratio,
        extrapolated=extrapolated,
        event_loop_s=event_loop_s,
    )


def _time_model(
    config: ExperimentConfig, preset: VidurPreset, bundle: Bundle, real_run_dir: Path | None
) -> _TimeModel:
    if preset.predictor == "random_forest":
        return _TimeModel(_random_forest(config, bundle), False, ClientTiming.none())
    kernels, client, host_ratio = bundle.kernel_times(), ClientTiming.none(), None
    timing: StepTiming
    if preset.predictor == "kernels_only":
        timing = KernelsOnly(bundle.params, kernels)
    else:
        # matrices of three columns: BLAS threads that wait for each other cost seconds
        with threadpool_limits(1):
            bursts = bundle.frames[BURST_STEPS], bundle.frames[BURST_REQUESTS]
            fitted = fit_engine_timing(*bursts, bundle.params, kernels)
        client = fitted.client
        if preset.host_speed == "probed":
            assert real_run_dir is not None
            expected = expected_probe(bundle.params, kernels, fitted)
            host_ratio = probed_host_ratio(real_run_dir, expected)
            fitted = fitted.at_host_speed(host_ratio)
        if preset.substitution == "recorded_step_times":
            assert real_run_dir is not None
            recorded = ENGINE_STEPS.read(real_run_dir)
            timing = RecordedStepTimes(bundle.params, kernels, recorded)
        else:
            timing = LoopTiming(bundle.params, kernels, fitted, preset.seed)
    predictor = StepPredictorConfig(timing=timing)
    return _TimeModel(predictor, timing.asynchronous, client, host_ratio)


def _random_forest(config: ExperimentConfig, bundle: Bundle) -> RandomForestConfig:
    model, hardware, params = config.model.name, config.hardware.name, bundle.params
    measured = bundle.meta.bundle_config_sha256, bundle.meta.measured_at
    tables_id = f"{model}-{hardware}-{config_sha256({'bundle': measured})[:16]}"
    return RandomForestConfig(
        kernels_dir=str(compute_dir(bundle.root, hardware, model)),
        bundle_dir=str(bundle.root),
        tables_dir=str(config.data.prediction_tables(tables_id)),
        no_cache=True,
        prediction_max_prefill_chunk_size=params.max_num_batched_tokens,
        prediction_max_batch_size=params.max_num_seqs,
        prediction_max_tokens_per_request=max(params.max_model_len, params.max_num_batched_tokens),
    )


@contextmanager
def _uncollected() -> Iterator[None]:
    """Steps are all kept and hold no cycles: collecting garbage takes a third of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()

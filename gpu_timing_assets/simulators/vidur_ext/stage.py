"""The stage: checks the inputs, simulates, writes the run tables as a real run writes them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.bundle import (
    ENGINE_FILE,
    BundleMeta,
    compute_dir,
    host_dir,
)
from gpu_timing_assets.core.closed_loop import read_closed_loop
from gpu_timing_assets.core.data_root import relative_to_data_root
from gpu_timing_assets.core.directories import atomic_directory
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.errors import IncomparableRunsError, SimulationError
from gpu_timing_assets.core.files import CONFIG_FILE, read_metadata, write_json
from gpu_timing_assets.core.provenance import environment, git_state, utc_now
from gpu_timing_assets.core.run import RUN_META_FILE, RealRunMeta, SimRunMeta, read_complete_run
from gpu_timing_assets.core.tables.invariants import read_workload_tables
from gpu_timing_assets.core.tables.run_tables import run_tables_from_token_times
from gpu_timing_assets.core.tables.schemas import (
    BURST_REQUESTS,
    BURST_STEPS,
    ENGINE_BATCHES,
    ENGINE_STEPS,
    REQUEST_METRICS,
    TOKEN_METRICS,
)
from gpu_timing_assets.core.workload import WorkloadMeta, read_complete_workload
from gpu_timing_assets.engine_loop.engine_timing import EngineTiming, fit_engine_timing
from gpu_timing_assets.engine_loop.host_times import FittedTime
from gpu_timing_assets.engine_loop.kernel_times import KernelTimes
from gpu_timing_assets.engine_loop.validate_bundle import validate_profiling_root
from gpu_timing_assets.simulators.base import SimInputs
from gpu_timing_assets.simulators.vidur_ext import VidurPreset
from gpu_timing_assets.simulators.vidur_ext.substitution import (
    anchored_token_ns,
    first_schedule_ns,
    steps_after_idle,
)


def run(config: ExperimentConfig, inputs: SimInputs, out: Path) -> SimRunMeta:
    """Simulate the workload with the preset's predictor and variant into `out`, which is replaced.

    Raises `ArtifactError` for a workload or real run that is not whole, `ProfilingBundleError` for
    a bundle that is not this target's, `SimulationError` for a workload beyond the context or
    beyond what the bundle covers, `IncomparableRunsError` for a variant's real run of another
    workload.
    """
    started_at, begin = utc_now(), time.monotonic()
    simulator = _preset(config)
    workload = read_complete_workload(inputs.workload_dir)
    lengths, intervals = read_workload_tables(inputs.workload_dir)
    bundle = validate_profiling_root(inputs.profiling_root, config)
    params = read_metadata(inputs.profiling_root / ENGINE_FILE, EngineParams)
    extrapolated = check_coverage(lengths, params, bundle, simulator.max_extrapolation)
    kernels = KernelTimes.from_bundle(
        inputs.profiling_root, config.hardware.name, params, config.model.name
    )
    closed_loop = read_closed_loop(inputs.workload_dir) is not None
    real = (
        _recorded_run(config, inputs, workload) if simulator.substitution or closed_loop else None
    )

    from gpu_timing_assets.simulators.vidur_ext.simulation import SimulatedWork, simulate

    predictor, timing = _predictor(config, inputs.profiling_root, params, kernels, bundle, real)
    # in a closed loop an arrival follows from the answer before it, so the real run's are replayed
    arrival_ns = (REQUEST_METRICS.read(real) if real and closed_loop else intervals)[
        "arrival_time_ns"
    ].to_numpy()
    rng = np.random.default_rng([simulator.seed, 1])
    prefill = lengths["num_prefill_tokens"].to_numpy()
    visible_s = arrival_ns / 1e9 + _client_in_s(timing, prefill, rng)
    recorded_steps, recorded_batches, after_idle = None, None, frozenset[int]()
    if real and simulator.substitution == "recorded_batches":
        recorded_steps, recorded_batches = ENGINE_STEPS.read(real), ENGINE_BATCHES.read(real)
        after_idle, visible_s = steps_after_idle(recorded_steps), np.zeros(len(lengths))
    loop_begin = time.monotonic()
    work = SimulatedWork(visible_s, prefill, lengths["num_decode_tokens"].to_numpy())
    log = simulate(
        config.model.name, config.hardware, params, work, predictor, recorded_batches, after_idle
    )
    loop_s = time.monotonic() - loop_begin
    token_request, token_ns = log.token_times(_client_out(timing, rng))
    steps, step_batches = log.tables()
    if recorded_steps is not None and recorded_batches is not None:
        token_ns = anchored_token_ns(
            token_request,
            token_ns,
            first_schedule_ns(steps, step_batches),
            first_schedule_ns(recorded_steps, recorded_batches),
        )
    # a delay to the client that is shorter for a later step must not make a request's tokens change
    # places
    token_ns = _monotonic_per_request(token_request, token_ns)
    requests, tokens = run_tables_from_token_times(lengths, arrival_ns, token_request, token_ns)
    commit, dirty = git_state()
    meta = SimRunMeta(
        run_id=out.name,
        simulator="vidur",
        model=config.model.name,
        hardware=config.hardware.name,
        backend=config.backend.name,
        workload_id=workload.workload_id,
        workload_sha256=workload.workload_sha256,
        started_at=started_at,
        ended_at=utc_now(),
        git_commit=commit,
        git_dirty=dirty,
        env=environment(),
        params=params,
        workload_dir=relative_to_data_root(inputs.workload_dir, out),
        profiling_root=relative_to_data_root(inputs.profiling_root, out),
        real_run_dir=relative_to_data_root(real, out) if real else None,
        predictor=simulator.predictor,
        substitution=simulator.substitution,
        seed=simulator.seed,
        extrapolated=extrapolated,
        wall_s=time.monotonic() - begin,
        event_loop_s=loop_s,
        num_steps=log.num_steps,
        num_tokens=len(tokens),
        simulated_s=float(token_ns.max()) / 1e9,
        bundle_config_sha256=bundle.bundle_config_sha256,
        bundle_measured_at=bundle.measured_at,
    )
    with atomic_directory(out) as scratch:
        REQUEST_METRICS.write(requests, scratch)
        TOKEN_METRICS.write(tokens, scratch)
        ENGINE_STEPS.write(steps, scratch)
        ENGINE_BATCHES.write(step_batches, scratch)
        write_json(scratch / CONFIG_FILE, config)
        (scratch / "summary.md").write_text(_summary(meta, requests, tokens), encoding="utf-8")
        write_json(scratch / RUN_META_FILE, meta)
    return meta


def _preset(config: ExperimentConfig) -> VidurPreset:
    assert isinstance(config.simulator, VidurPreset)
    return config.simulator


def check_coverage(
    lengths: pd.DataFrame, params: EngineParams, bundle: BundleMeta, max_extrapolation: float
) -> bool:
    """Whether the workload reaches beyond the bundle's grid, which `max_extrapolation` > 1 allows.

    Raises `SimulationError` naming the row of a request that is too long for the context or for the
    allowed reach.
    """
    total = lengths["num_prefill_tokens"] + lengths["num_decode_tokens"]
    for limit, what, remedy in (
        (
            params.max_model_len,
            "the engine's context",
            "filter the workload or raise backend.max_model_len and profile again",
        ),
        (
            int(bundle.max_context_tokens * max_extrapolation),
            "the context that the bundle covers",
            "profile with longer profiling.decode_context_tokens, or allow it with "
            "simulator.max_extrapolation",
        ),
        # such a request would wait for blocks for ever; vLLM keeps one block to itself
        (
            (params.num_kv_blocks - 1) * params.kv_block_size,
            "the KV cache of the profiled engine",
            "filter the workload, or give the engine more memory and profile again",
        ),
    ):
        over = (total > limit).to_numpy()
        if over.any():
            row = int(over.argmax())
            raise SimulationError(
                f"trace_lengths.csv, row {row + 2}: request {row} has {total.iloc[row]} tokens, "
                f"beyond {what} of {limit}: {remedy}"
            )
    return bool((total > bundle.max_context_tokens).any())


def _recorded_run(config: ExperimentConfig, inputs: SimInputs, workload: WorkloadMeta) -> Path:
    simulator = _preset(config)
    if inputs.real_run_dir is None:
        why = (
            f"substitution {simulator.substitution!r} substitutes what a real run recorded"
            if simulator.substitution
            else f"{workload.workload_id} is a closed loop, whose arrivals only a real run knows"
        )
        raise SimulationError(
            f"{why}, and there is none: make one with `real-bench workload={workload.workload_id}`"
        )
    meta = read_complete_run(inputs.real_run_dir, RealRunMeta, allow_invalid=True)
    if meta.workload_sha256 != workload.workload_sha256:
        raise IncomparableRunsError(
            f"{inputs.real_run_dir} replayed another workload ({meta.workload_id}) than "
            f"{inputs.workload_dir}"
        )
    return inputs.real_run_dir


def _predictor(
    config: ExperimentConfig,
    root: Path,
    params: EngineParams,
    kernels: KernelTimes,
    bundle: BundleMeta,
    real: Path | None,
) -> tuple[Any, EngineTiming | None]:
    """The predictor's configuration, and the timing whose edges apply (None: tokens are seen as
    soon as they are made).
    """
    from gpu_timing_assets.simulators.vidur_ext.predictors import (
        EnginePredictorConfig,
        KernelPredictorConfig,
        RecordedPredictorConfig,
    )
    from gpu_timing_assets.simulators.vidur_ext.stock_predictor import StockPredictorConfig

    simulator = _preset(config)
    if simulator.predictor == "random_forest":
        kernels_dir = compute_dir(root, config.hardware.name, config.model.name)
        identity = (
            f"{bundle.bundle_config_sha256[:12]}-{bundle.measured_at.lower().replace(':', '')}"
        )
        return StockPredictorConfig(
            kernels_dir=str(kernels_dir),
            tables_dir=str(
                config.data.path
                / "vidur_tables"
                / f"{config.model.name}-{config.hardware.name}-{identity}"
            ),
            no_cache=True,
            prediction_max_prefill_chunk_size=params.max_num_batched_tokens,
            prediction_max_batch_size=params.max_num_seqs,
            prediction_max_tokens_per_request=max(
                params.max_model_len, params.max_num_batched_tokens
            ),
        ), None
    if simulator.predictor == "kernels_only":
        return KernelPredictorConfig(params=params, kernels=kernels), None
    from threadpoolctl import threadpool_limits

    # the fits' matrices have three columns: BLAS threads that wait for each other on a busy machine
    # cost seconds
    with threadpool_limits(1):
        timing = fit_engine_timing(
            BURST_STEPS.read(host_dir(root)), BURST_REQUESTS.read(host_dir(root)), params, kernels
        )
    if simulator.substitution == "recorded_step_times":
        assert real is not None
        return RecordedPredictorConfig(
            params=params, kernels=kernels, recorded=ENGINE_STEPS.read(real)
        ), timing
    return EnginePredictorConfig(
        params=params, kernels=kernels, timing=timing, seed=simulator.seed
    ), timing


def _client_in_s(
    timing: EngineTiming | None, num_prefill_tokens: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """From the planned arrival to when the engine can schedule a request, in s."""
    if timing is None:
        return np.zeros(len(num_prefill_tokens))
    fitted = timing.client_in
    level = fitted.coefficients[0] + fitted.coefficients[1] * num_prefill_tokens
    return level * fitted.ratios[rng.integers(0, len(fitted.ratios), len(level))] / 1e3


def _client_out(
    timing: EngineTiming | None, rng: np.random.Generator
) -> Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """From a step's result to each of its tokens at the client, in s: the client takes them one
    after the other.
    """
    if timing is None:
        return lambda num_outputs, position, after_idle: np.zeros(len(position))

    def drawn(fitted: FittedTime, num_outputs: np.ndarray, step: np.ndarray) -> np.ndarray:
        level = fitted.coefficients[0] + fitted.coefficients[1] * num_outputs
        ratios = fitted.ratios[rng.integers(0, len(fitted.ratios), int(step.max(initial=0)) + 1)]
        return level * ratios[step]

    def delay_s(
        num_outputs: np.ndarray, position: np.ndarray, after_idle: np.ndarray
    ) -> np.ndarray:
        step = np.cumsum(position == 0)
        share = position / np.maximum(num_outputs - 1, 1)
        spread = drawn(timing.client_out_spread, num_outputs, step) * (num_outputs > 1)
        running, asleep = (
            drawn(fitted, num_outputs, step)
            for fitted in (timing.client_out_first, timing.client_out_after_idle)
        )
        return (np.where(after_idle, asleep, running) + share * spread) / 1e3

    return delay_s


def _monotonic_per_request(token_request: np.ndarray, token_ns: np.ndarray) -> np.ndarray:
    times = pd.Series(token_ns)
    return times.groupby(token_request).cummax().to_numpy()


def _summary(meta: SimRunMeta, requests: pd.DataFrame, tokens: pd.DataFrame) -> str:
    def row(label: str, values: pd.Series) -> str:
        milliseconds = values.dropna().astype(float) / 1e6
        return (
            f"| {label} | "
            + " | ".join(f"{milliseconds.quantile(q):.2f}" for q in (0.5, 0.9, 0.99))
            + " |\n"
        )

    variant = f", substitution {meta.substitution}" if meta.substitution else ""
    marked = "**Beyond the bundle's grid: extrapolated.**\n\n" if meta.extrapolated else ""
    return (
        f"# Simulated run {meta.run_id}\n\n{meta.model} on {meta.hardware}, predictor "
        f"{meta.predictor}{variant}.\n\n{marked}"
        f"{len(requests)} requests, {len(tokens)} tokens in {meta.num_steps} steps; "
        f"{meta.simulated_s:.1f} s simulated in "
        f"{meta.wall_s:.1f} s.\n\n| ms | p50 | p90 | p99 |\n| --- | ---: | ---: | ---: |\n"
        + row("TTFT", requests["ttft_ns"])
        + row("ITL", tokens["token_latency_ns"])
        + row("E2E", requests["completion_time_ns"] - requests["arrival_time_ns"])
    )

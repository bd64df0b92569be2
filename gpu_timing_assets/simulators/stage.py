"""The stage `vidur-sim`: checks what it reads, has the simulator compute, checks and files that."""

import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.config.simulator import SIMULATORS
from gpu_timing_assets.core.bundle import BundleMeta
from gpu_timing_assets.core.closed_loop import read_closed_loop
from gpu_timing_assets.core.data_root import relative_to_data_root
from gpu_timing_assets.core.directories import atomic_directory
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.errors import ArtifactError, IncomparableRunsError, SimulationError
from gpu_timing_assets.core.files import CONFIG_FILE, write_json
from gpu_timing_assets.core.manifest import verify_directory
from gpu_timing_assets.core.provenance import environment, git_state, utc_now
from gpu_timing_assets.core.run import (
    RUN_META_FILE,
    TOKEN_TIMES,
    RealRunMeta,
    SimRunMeta,
    read_complete_run,
)
from gpu_timing_assets.core.tables.invariants import check_run_tables, read_workload_tables
from gpu_timing_assets.core.tables.schemas import (
    ENGINE_BATCHES,
    ENGINE_STEPS,
    REQUEST_METRICS,
    TOKEN_METRICS,
)
from gpu_timing_assets.core.tables.table import Table
from gpu_timing_assets.core.workload import WorkloadMeta, read_complete_workload
from gpu_timing_assets.engine_loop.bundle import read_bundle
from gpu_timing_assets.metrics.run_latencies import latencies_ms
from gpu_timing_assets.simulators.base import SimInputs, SimulatedRun, Simulator, Work

# whose time model a bundle's self-test has tried: the other predictors take nothing of its fits
TESTED_PREDICTOR = "engine_loop"


def run(config: ExperimentConfig, inputs: SimInputs, out: Path) -> SimRunMeta:
    """Simulate the workload with the configured simulator into `out`, which is replaced, and is
    nobody else's to write meanwhile.

    Raises `ArtifactError` for a workload or real run that is not whole, `ProfilingBundleError` for
    a bundle that is not this target's, `SimulationError` for a workload beyond what can be
    simulated or a simulator that breaks the port's rules, `IncomparableRunsError` for a real run
    of another workload, `BusyError` if somebody else simulates into `out`.
    """
    with atomic_directory(out) as scratch:
        meta, simulated = _simulate(config, inputs, out)
        _file(scratch, config, meta, simulated)
    return meta


def _simulate(
    config: ExperimentConfig, inputs: SimInputs, out: Path
) -> tuple[SimRunMeta, SimulatedRun]:
    started_at, begin = utc_now(), time.monotonic()
    simulator = _simulator(config.simulator.name)
    _refuse_prefix_caching(simulator, config)
    workload = read_complete_workload(inputs.workload_dir)
    bundle = read_bundle(inputs.profiling_root, config) if simulator.reads_bundle else None
    real_run_dir = _needed_real_run(config, inputs, workload)
    work = _read_work(inputs.workload_dir, real_run_dir)
    simulated = simulator.simulate(work, config, bundle, real_run_dir)
    _check(simulator, work, simulated)
    tested = bundle.meta if bundle and simulated.predictor == TESTED_PREDICTOR else None
    commit, dirty = git_state()
    completion_ns = simulated.requests["completion_time_ns"]
    meta = SimRunMeta(
        run_id=out.name,
        simulator=simulator.name,
        predictor=simulated.predictor,
        substitution=simulated.substitution,
        gives=simulator.gives,
        simulated_settings=simulator.simulated_settings,
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
        params=simulated.params,
        workload_dir=relative_to_data_root(inputs.workload_dir, out),
        profiling_root=relative_to_data_root(bundle.root, out) if bundle else None,
        real_run_dir=relative_to_data_root(real_run_dir, out) if real_run_dir else None,
        seed=simulated.seed,
        host_ratio=simulated.host_ratio,
        extrapolated=simulated.extrapolated,
        wall_s=time.monotonic() - begin,
        event_loop_s=simulated.event_loop_s,
        num_steps=None if simulated.steps is None else len(simulated.steps),
        num_tokens=int(simulated.requests["num_decode_tokens_actual"].sum()),
        simulated_s=float(completion_ns.max()) / 1e9,
        bundle_config_sha256=bundle.meta.bundle_config_sha256 if bundle else None,
        bundle_measured_at=bundle.meta.measured_at if bundle else None,
        bundle_failed_checks=tuple(bundle.meta.failed_checks) if bundle else (),
        self_test_error_pct=_self_test_error_pct(tested),
        prediction_spread_pct=tested.repeatability.spread_pct
        if tested and tested.repeatability
        else None,
    )
    return meta, simulated


def _refuse_prefix_caching(simulator: Simulator, config: ExperimentConfig) -> None:
    """Before a bundle is asked for, which would be measured for nothing."""
    wanted = config.backend.profiled_settings().get("enable_prefix_caching", False)
    if wanted and "enable_prefix_caching" not in (simulator.simulated_settings or ()):
        raise SimulationError(
            f"backend.enable_prefix_caching is true, and simulator {simulator.name} does not "
            "simulate a prefix cache: set it to false, here and for the real run"
        )


def _self_test_error_pct(tested: BundleMeta | None) -> dict[str, float] | None:
    if tested is None:
        return None
    return tested.self_test.error_pct if tested.self_test else {}


def _simulator(name: str) -> Simulator:
    plugin = SIMULATORS[name]
    if not isinstance(plugin, Simulator):
        raise SimulationError(f"plug-in {name!r} is no gpu_timing_assets.simulators.base.Simulator")
    return plugin


def _needed_real_run(
    config: ExperimentConfig, inputs: SimInputs, workload: WorkloadMeta
) -> Path | None:
    """The real run, if this simulation reads one, once it is found to be of this workload."""
    closed_loop = read_closed_loop(inputs.workload_dir) is not None
    if not (config.simulator.needs_real_run or closed_loop):
        return None
    if inputs.real_run_dir is None:
        why = (
            f"simulation {config.simulator.run_label!r} reads what a real run recorded"
            if config.simulator.needs_real_run
            else f"{workload.workload_id} is a closed loop, whose arrivals only a real run knows"
        )
        raise SimulationError(
            f"{why}, and there is none: make one with `real-bench workload={workload.workload_id}`"
        )
    meta = read_complete_run(inputs.real_run_dir, RealRunMeta, allow_invalid=True)
    verify_directory(inputs.real_run_dir)
    if meta.workload_sha256 != workload.workload_sha256:
        raise IncomparableRunsError(
            f"{inputs.real_run_dir} replayed another workload ({meta.workload_id}) than "
            f"{inputs.workload_dir}"
        )
    return inputs.real_run_dir


def _read_work(workload_dir: Path, real_run_dir: Path | None) -> Work:
    lengths, arrivals = read_workload_tables(workload_dir)
    if real_run_dir is None:
        return Work(lengths, arrivals["arrival_time_ns"].to_numpy())
    served = REQUEST_METRICS.read(real_run_dir).sort_values("request_id", ignore_index=True)
    asked = ["request_id", "num_prefill_tokens", "num_decode_tokens"]
    if not served[asked].equals(lengths[asked]):
        raise ArtifactError(
            f"{REQUEST_METRICS.find(real_run_dir)}: its requests have other lengths than those of "
            f"{workload_dir}: take the run anew from where it came from, or run real-bench again"
        )
    # in a closed loop an arrival follows from the answer before it, so the real run's are replayed
    if read_closed_loop(workload_dir) is not None:
        arrivals = served
    return Work(lengths, arrivals["arrival_time_ns"].to_numpy())


def _check(simulator: Simulator, work: Work, simulated: SimulatedRun) -> None:
    """Raises `SimulationError` unless the tables are of this work, and hold what every run's do."""
    where, requests, tokens = f"simulator {simulator.name}", simulated.requests, simulated.tokens
    try:
        for table, frame in _tables(simulated):
            table.check(frame, Path(where, table.file))
    except ArtifactError as error:
        raise SimulationError(str(error)) from None
    if (tokens is not None) != (TOKEN_TIMES in simulator.gives):
        raise SimulationError(f"{where} says that it gives {simulator.gives}, and does otherwise")
    named = simulator.simulated_settings
    if named is not None and not (named and EngineParams.model_fields.keys() >= set(named)):
        raise SimulationError(f"{where} names simulated_settings that are none: {named}")
    if len(requests) != len(work.lengths):
        counts = f"{len(requests)} requests of the workload's {len(work.lengths)}"
        raise SimulationError(f"{where} gave {counts}")
    planned = work.lengths.assign(arrival_time_ns=work.arrival_time_ns)
    for name in ("request_id", "arrival_time_ns", "num_prefill_tokens", "num_decode_tokens"):
        wrong = requests[name].to_numpy() != planned[name].to_numpy()
        if wrong.any():
            row = int(wrong.argmax())
            raise SimulationError(
                f"{where}: {name} of row {row} is {requests[name].iloc[row]}, the workload's is "
                f"{planned[name].iloc[row]}"
            )
    over = (requests["num_decode_tokens_actual"] > requests["num_decode_tokens"]).to_numpy()
    if over.any():
        raise SimulationError(f"{where}: request {int(over.argmax())} has more tokens than asked")
    try:
        files = Path(where, REQUEST_METRICS.file), Path(where, TOKEN_METRICS.file)
        check_run_tables(requests, tokens, *files)
    except ArtifactError as error:
        raise SimulationError(str(error)) from None


def _tables(simulated: SimulatedRun) -> Iterator[tuple[Table, pd.DataFrame]]:
    """Those that the simulator gave."""
    for table, frame in (
        (REQUEST_METRICS, simulated.requests),
        (TOKEN_METRICS, simulated.tokens),
        (ENGINE_STEPS, simulated.steps),
        (ENGINE_BATCHES, simulated.batches),
    ):
        if frame is not None:
            yield table, frame


def _file(
    scratch: Path, config: ExperimentConfig, meta: SimRunMeta, simulated: SimulatedRun
) -> None:
    for table, frame in _tables(simulated):
        table.write(frame, scratch)
    write_json(scratch / CONFIG_FILE, config)
    text = _summary(meta, simulated.requests, simulated.tokens)
    (scratch / "summary.md").write_text(text, encoding="utf-8")
    write_json(scratch / RUN_META_FILE, meta)


def _summary(meta: SimRunMeta, requests: pd.DataFrame, tokens: pd.DataFrame | None) -> str:
    """`summary.md` of a simulated run."""
    rows = [
        f"| {name} | {' | '.join(f'{value:.2f}' for value in percentiles.values())} |\n"
        for name, percentiles in latencies_ms(requests, tokens).items()
    ]
    marked = "**Beyond the bundle's grid: extrapolated.**\n\n" if meta.extrapolated else ""
    steps = f" in {meta.num_steps} steps" if meta.num_steps is not None else ""
    return (
        f"# Simulated run {meta.run_id}\n\n{meta.model} on {meta.hardware}, simulator "
        f"{meta.simulator}: {meta.label}.\n\n{marked}"
        f"{len(requests)} requests, {meta.num_tokens} tokens{steps}; {meta.simulated_s:.1f} s "
        f"simulated in {meta.wall_s:.1f} s.\n\n"
        "| ms | p50 | p90 | p99 |\n| --- | ---: | ---: | ---: |\n" + "".join(rows)
    )

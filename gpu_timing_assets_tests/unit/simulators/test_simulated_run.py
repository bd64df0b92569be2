"""`vidur-sim` with Vidur, from bundle and workload to a run: predictors, client, substitutions."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.directories import atomic_directory
from gpu_timing_assets.core.errors import (
    ArtifactError,
    BusyError,
    IncomparableRunsError,
    ProfilingBundleError,
    SimulationError,
)
from gpu_timing_assets.core.files import read_json, write_json
from gpu_timing_assets.core.manifest import MANIFEST_FILE, write_manifest
from gpu_timing_assets.core.run import (
    RUN_META_FILE,
    Lateness,
    Percentiles,
    RealRunMeta,
    SimRunMeta,
    read_complete_run,
)
from gpu_timing_assets.core.tables.invariants import read_run_tables
from gpu_timing_assets.core.tables.schemas import (
    ALL_REDUCE,
    BURST_REQUESTS,
    BURST_STEPS,
    CLOSED_LOOP,
    ENGINE_BATCHES,
    ENGINE_STEPS,
    REQUEST_METRICS,
)
from gpu_timing_assets.engine_loop.bundle import read_bundle
from gpu_timing_assets.engine_loop.fit.engine import fit_engine_timing
from gpu_timing_assets.engine_loop.loop import EngineLoop
from gpu_timing_assets.engine_loop.loop_timing import LoopTiming
from gpu_timing_assets.engine_loop.step_tables import engine_batches, engine_steps
from gpu_timing_assets.engine_loop.vllm_v1_scheduler import VllmV1Scheduler
from gpu_timing_assets.simulators import SimInputs, run
from gpu_timing_assets.simulators.vidur_ext.event_loop import run_event_loop
from gpu_timing_assets.simulators.vidur_ext.replica_scheduler import LoopSchedulerConfig
from gpu_timing_assets.simulators.vidur_ext.step_predictor import StepPredictorConfig
from gpu_timing_assets_tests.unit.engine_loop.plain_loop import serve
from gpu_timing_assets_tests.unit.simulators.planted_engine import LOOP
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import (
    target_config,
    write_bundle,
    write_workload,
)

PREFILL, DECODE = [20, 40, 33, 90, 8, 60], [12, 6, 20, 5, 30, 9]
ARRIVAL_MS = [0, 4, 9, 30, 31, 200]


@pytest.fixture(scope="session")
def workload(config: ExperimentConfig) -> Path:
    return write_workload(config.data.workload_dir("tiny"), PREFILL, DECODE, ARRIVAL_MS)


@pytest.fixture
def simulate_with(config, bundle, workload) -> Callable[..., tuple[Path, SimRunMeta]]:
    """`simulate_with(predictor, substitution, real_run_dir)` → the run's directory and metadata."""

    def simulate_it(
        predictor: str = "engine_loop",
        substitution: str | None = None,
        real: Path | None = None,
        seed: int = 0,
    ):
        changed = config.model_copy(
            update={
                "simulator": config.simulator.model_copy(
                    update={"predictor": predictor, "substitution": substitution, "seed": seed}
                )
            }
        )
        out = changed.data.sim_run_dir(changed.sim_run_id)
        return out, run(changed, SimInputs(workload, bundle, real), out)

    return simulate_it


@pytest.fixture
def real_run(simulate_with, tmp_path) -> Path:
    """A directory as a real run writes it; what is in it was simulated with another seed."""
    simulated, meta = simulate_with(seed=77)
    real = tmp_path / "real_runs" / "real"
    # without a manifest: a test may then record something else in it
    shutil.copytree(simulated, real, ignore=shutil.ignore_patterns(MANIFEST_FILE))
    nothing = Percentiles(p50=0, p90=0, p99=0)
    shared = ("model", "hardware", "workload_id", "workload_sha256", "params", "started_at")
    write_json(
        real / RUN_META_FILE,
        RealRunMeta(
            **{name: getattr(meta, name) for name in shared},
            run_id="real",
            backend="vllm",
            ended_at=meta.ended_at,
            session="real",
            repeat=0,
            repeats=1,
            early_stopping=False,
            warmup_requests=0,
            engine_start_s=1.0,
            replay_s=1.0,
            client_cpu_share=0.0,
            ttft_ms=nothing,
            itl_ms=nothing,
            e2e_ms=nothing,
            submission_lateness_ms=Lateness(p50=0, p90=0, p99=0, max=0),
            num_requests=len(PREFILL),
            num_failed=0,
            num_tokens=sum(DECODE),
            tokens_per_s=1.0,
        ),
    )
    return real


@pytest.mark.parametrize("predictor", ["random_forest", "kernels_only", "engine_loop"])
def test_each_predictor_writes_a_whole_run(simulate_with, predictor) -> None:
    out, meta = simulate_with(predictor)
    requests, tokens = read_run_tables(out)
    assert requests["num_decode_tokens_actual"].tolist() == DECODE
    assert requests["arrival_time_ns"].tolist() == [int(ms * 1e6) for ms in ARRIVAL_MS]
    assert (requests["status"] == "ok").all()
    assert len(ENGINE_STEPS.read(out)) == meta.num_steps
    assert len(tokens) == sum(DECODE)
    assert read_complete_run(out, SimRunMeta) == meta
    assert (meta.simulator, meta.predictor, meta.substitution) == ("vidur", predictor, None)
    assert (meta.gives, meta.extrapolated) == (("token_times",), False)
    assert (out / "config.json").is_file()


@pytest.mark.parametrize("predictor", ["random_forest", "kernels_only", "engine_loop"])
def test_each_predictor_knows_what_two_devices_exchange(tmp_path, predictor) -> None:
    def e2e_ns(all_reduce_factor: float) -> float:
        overrides = ("backend.tensor_parallel_size=2", f"simulator={predictor}")
        config = target_config(tmp_path / str(all_reduce_factor), *overrides)
        root = write_bundle(config.data.profiling_root("h100", "qwen3-tiny"), config)
        all_reduce = ALL_REDUCE.read(root)
        times = [name for name in all_reduce.columns if name.startswith("time_stats.")]
        ALL_REDUCE.write(all_reduce.assign(**(all_reduce[times] * all_reduce_factor)), root)
        work = write_workload(config.data.workload_dir("tiny"), PREFILL, DECODE, ARRIVAL_MS)
        out = config.data.sim_run_dir(config.sim_run_id)
        run(config, SimInputs(work, root), out)
        requests = read_run_tables(out)[0]
        return float((requests["completion_time_ns"] - requests["arrival_time_ns"]).sum())

    assert e2e_ns(100) > 1.2 * e2e_ns(1)


def test_the_same_seed_gives_the_same_bytes(simulate_with) -> None:
    out, _ = simulate_with()
    first = {path.name: path.read_bytes() for path in out.glob("*.csv")}
    simulate_with()
    assert {path.name: path.read_bytes() for path in out.glob("*.csv")} == first


def test_the_engine_loop_is_slower_than_its_kernels(simulate_with) -> None:
    engine, kernels = (
        read_run_tables(simulate_with(predictor)[0])[0]["ttft_ns"].median()
        for predictor in ("engine_loop", "kernels_only")
    )
    assert engine > 2 * kernels


def test_a_token_time_is_its_steps_result_and_the_way_to_the_client(simulate_with) -> None:
    out, _ = simulate_with()
    _, tokens = read_run_tables(out)
    results = np.sort(ENGINE_STEPS.read(out)["result_ns"].to_numpy())
    before = results[np.searchsorted(results, tokens["token_time_ns"].to_numpy(), side="right") - 1]
    delay_ms = (tokens["token_time_ns"].to_numpy() - before) / 1e6
    widest = LOOP.client_out[0] + 8 * (LOOP.client_out[1] + LOOP.client_spread)
    assert (delay_ms > 0.5 * LOOP.client_out[0]).all()
    assert (delay_ms < 1.5 * widest).all()


def test_tokens_of_one_request_are_not_evenly_spaced(simulate_with) -> None:
    # an interpolated series would be: prompts of others, of three milliseconds and more, fall
    # between these tokens
    _, tokens = read_run_tables(simulate_with()[0])
    latency = tokens[tokens["request_id"] == 0]["token_latency_ns"].dropna().astype(float)
    assert latency.max() > 3 * latency.min()


def test_tokens_of_one_step_are_seen_one_after_the_other(simulate_with) -> None:
    out, _ = simulate_with()
    steps, batches = ENGINE_STEPS.read(out), ENGINE_BATCHES.read(out)
    _, tokens = read_run_tables(out)
    decode = steps[(steps["num_decode_requests"] > 1) & (steps["num_prefill_requests"] == 0)].iloc[
        0
    ]
    in_step = batches[batches["step"] == decode["step"]]["request_id"].tolist()
    times = [
        tokens[(tokens["request_id"] == request) & (tokens["token_time_ns"] > decode["result_ns"])][
            "token_time_ns"
        ].min()
        for request in in_step
    ]
    assert times == sorted(times)
    assert len(set(times)) == len(times)


def test_kernels_alone_end_at_the_step_result(simulate_with) -> None:
    out, _ = simulate_with("kernels_only")
    _, tokens = read_run_tables(out)
    assert set(tokens["token_time_ns"]) <= set(ENGINE_STEPS.read(out)["result_ns"])


def test_the_random_forest_knows_less_than_the_kernels(simulate_with) -> None:
    # no embedding, lm_head, sampler and QK-norm
    forest, kernels = (
        read_run_tables(simulate_with(name)[0])[1]["token_latency_ns"].median()
        for name in ("random_forest", "kernels_only")
    )
    assert forest < kernels


def test_the_random_forest_keeps_its_tables_and_uses_them_again(simulate_with, config) -> None:
    out, _ = simulate_with("random_forest")
    tables = {
        path: path.stat().st_mtime_ns for path in (config.data.path / "vidur_tables").rglob("*.csv")
    }
    first = (out / "token_metrics.csv").read_bytes()
    assert tables
    simulate_with("random_forest")
    assert {
        path: path.stat().st_mtime_ns for path in (config.data.path / "vidur_tables").rglob("*.csv")
    } == tables
    assert (out / "token_metrics.csv").read_bytes() == first
    assert not list(config.data.path.rglob("*.pkl"))


def test_the_random_forest_trained_again_is_the_same(simulate_with, config) -> None:
    def tokens() -> bytes:
        shutil.rmtree(config.data.path / "vidur_tables", ignore_errors=True)
        return (simulate_with("random_forest")[0] / "token_metrics.csv").read_bytes()

    assert tokens() == tokens()


def test_tables_of_the_random_forest_that_were_changed_are_made_anew(simulate_with, config) -> None:
    out, _ = simulate_with("random_forest")
    first = (out / "token_metrics.csv").read_bytes()
    table = min((config.data.path / "vidur_tables").rglob("attn_decode*.csv"))
    kept = table.read_bytes()
    frame = pd.read_csv(table)
    frame.assign(prediction=frame["prediction"] * 9).to_csv(table, index=False)
    simulate_with("random_forest")
    assert (out / "token_metrics.csv").read_bytes() == first
    assert table.read_bytes() == kept


def test_recorded_batches_are_replayed_exactly(simulate_with, real_run) -> None:
    out, meta = simulate_with("engine_loop", "recorded_batches", real_run)
    pd.testing.assert_frame_equal(ENGINE_BATCHES.read(out), ENGINE_BATCHES.read(real_run))
    assert meta.substitution == "recorded_batches"
    assert meta.real_run_dir is not None
    assert read_run_tables(out)[0]["num_decode_tokens_actual"].tolist() == DECODE


def test_recorded_batches_need_not_be_those_the_scheduler_would_form(
    simulate_with, real_run
) -> None:
    # request 1 runs alone, after everything else
    batches = ENGINE_BATCHES.read(real_run)
    late = batches[batches["request_id"] == 1]
    others = batches[batches["request_id"] != 1]
    renumbered = others.assign(step=others["step"].rank(method="dense").astype(int) - 1)
    late = late.assign(step=np.arange(len(late)) + renumbered["step"].max() + 1)
    ENGINE_BATCHES.write(pd.concat([renumbered, late]), real_run)
    steps = ENGINE_STEPS.read(real_run)
    last = steps.iloc[-1]
    more = pd.DataFrame([last] * len(late)).assign(step=late["step"].to_numpy())
    for column in ("schedule_begin_ns", "schedule_end_ns", "result_ns"):
        more[column] = last[column] + 10_000_000 * np.arange(1, len(late) + 1)
    ENGINE_STEPS.write(pd.concat([steps[steps["step"] < late["step"].min()], more]), real_run)
    out, _ = simulate_with("engine_loop", "recorded_batches", real_run)
    replayed = ENGINE_BATCHES.read(out)
    assert (
        replayed[replayed["request_id"] == 1]["step"].min()
        > replayed[replayed["request_id"] != 1]["step"].max()
    )
    assert read_run_tables(out)[0]["num_decode_tokens_actual"].tolist() == DECODE


def test_recorded_step_times_reproduce_the_recorded_results(simulate_with, real_run) -> None:
    # the scheduler and the arrivals agree with the recording, so nothing is left that could differ
    out, _ = simulate_with("engine_loop", "recorded_step_times", real_run)
    pd.testing.assert_frame_equal(ENGINE_BATCHES.read(out), ENGINE_BATCHES.read(real_run))
    simulated, recorded = ENGINE_STEPS.read(out), ENGINE_STEPS.read(real_run)
    # to a tenth of a step of this engine: how long after its arrival a request is seen is drawn
    # anew
    difference_ms = (simulated["result_ns"] - recorded["result_ns"]).abs() / 1e6
    assert difference_ms.median() < 0.1
    durations = [frame["result_ns"] - frame["schedule_begin_ns"] for frame in (simulated, recorded)]
    assert np.median(np.abs(durations[0] - durations[1])) < 1000


@pytest.mark.parametrize("substitution", ["recorded_batches", "recorded_step_times"])
def test_a_substitution_without_a_real_run_says_how_to_make_one(
    simulate_with, substitution
) -> None:
    with pytest.raises(SimulationError, match="real-bench workload=tiny"):
        simulate_with("engine_loop", substitution, None)


def test_a_substitution_refuses_a_real_run_of_another_workload(simulate_with, real_run) -> None:
    meta = read_json(real_run / RUN_META_FILE)
    (real_run / RUN_META_FILE).write_text(json.dumps({**meta, "workload_sha256": "0" * 64}))
    with pytest.raises(IncomparableRunsError, match="replayed another workload"):
        simulate_with("engine_loop", "recorded_batches", real_run)


def test_a_real_run_whose_prompts_are_not_the_workloads_is_refused(simulate_with, real_run) -> None:
    served = REQUEST_METRICS.read(real_run)
    longer = served.assign(num_prefill_tokens=served["num_prefill_tokens"] + 1)
    REQUEST_METRICS.write(longer, real_run)
    with pytest.raises(ArtifactError, match=r"request_metrics\.csv: its requests have other"):
        simulate_with("engine_loop", "recorded_batches", real_run)


def test_a_real_run_that_is_not_as_it_was_filed_is_refused(simulate_with, real_run) -> None:
    write_manifest(real_run)
    steps = ENGINE_STEPS.read(real_run)
    ENGINE_STEPS.write(steps.iloc[:-1], real_run)
    with pytest.raises(ArtifactError, match=r"engine_steps\.csv is not the file that was filed"):
        simulate_with("engine_loop", "recorded_step_times", real_run)


def test_a_bundle_that_is_not_as_it_was_filed_is_refused(
    simulate_with, config, bundle, tmp_path, workload
) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    write_manifest(copy)
    steps = BURST_STEPS.read(copy / "host")
    BURST_STEPS.write(steps.iloc[:-1], copy / "host")
    with pytest.raises(
        ProfilingBundleError,
        match=r"burst_steps\.csv is not the file.*vidur-profile",
    ):
        run(config, SimInputs(workload, copy), tmp_path / "vidur_runs" / "one")


def test_a_second_simulation_into_one_directory_is_refused_before_it_works(
    config, bundle, workload, tmp_path
) -> None:
    out = tmp_path / "vidur_runs" / "one"
    with (
        atomic_directory(out),
        pytest.raises(BusyError, match="vidur_runs/one is in use by another process"),
    ):
        # nothing of this bundle is looked at
        run(config, SimInputs(workload, tmp_path / "no bundle"), out)


@pytest.fixture
def closed_loop(workload, tmp_path) -> Path:
    """The same requests, each sent when its user has the answer to the one before."""
    directory = tmp_path / "workloads" / "tiny"
    shutil.copytree(workload, directory)
    ids = np.arange(len(PREFILL))
    frame = pd.DataFrame({"request_id": ids, "user_id": ids % 2, "think_time_ns": 0})
    CLOSED_LOOP.write(frame, directory)
    return directory


def test_a_closed_loop_replays_the_arrivals_of_the_real_run(
    config, bundle, closed_loop, real_run, tmp_path
) -> None:
    recorded = REQUEST_METRICS.read(real_run)
    later = recorded.assign(
        **{
            name: recorded[name] + 1_000_000
            for name in ("arrival_time_ns", "first_token_time_ns", "completion_time_ns")
        }
    )
    REQUEST_METRICS.write(later, real_run)
    out = tmp_path / "vidur_runs" / "closed"
    meta = run(config, SimInputs(closed_loop, bundle, real_run), out)
    simulated = REQUEST_METRICS.read(out)
    assert simulated["arrival_time_ns"].tolist() == later["arrival_time_ns"].tolist()
    assert meta.real_run_dir is not None


def test_a_closed_loop_without_a_real_run_says_how_to_make_one(
    config, bundle, closed_loop, tmp_path
) -> None:
    with pytest.raises(SimulationError, match="closed loop.*real-bench workload=tiny"):
        run(config, SimInputs(closed_loop, bundle), tmp_path / "vidur_runs" / "closed")


def test_vidurs_clock_gives_what_a_plain_clock_gives(config, bundle) -> None:
    # the loop is the model; Vidur carries its events and adds nothing
    read = read_bundle(bundle, config)
    bursts = read.frames[BURST_STEPS], read.frames[BURST_REQUESTS]
    fitted = fit_engine_timing(*bursts, read.params, read.kernel_times())
    work = list(zip(PREFILL, DECODE, ARRIVAL_MS, strict=True))
    plain = serve(work, read.params, LoopTiming(read.params, read.kernel_times(), fitted, seed=3))
    loop = EngineLoop(VllmV1Scheduler(read.params), asynchronous=True)
    run_event_loop(
        config.model.name,
        config.hardware,
        read.params,
        pd.DataFrame({"num_prefill_tokens": PREFILL, "num_decode_tokens": DECODE}),
        np.array(ARRIVAL_MS) / 1e3,
        LoopSchedulerConfig(batch_size_cap=8, loop=loop),
        StepPredictorConfig(timing=LoopTiming(read.params, read.kernel_times(), fitted, seed=3)),
    )
    pd.testing.assert_frame_equal(engine_steps(loop.steps), plain.steps)
    pd.testing.assert_frame_equal(engine_batches(loop.steps), plain.batches)

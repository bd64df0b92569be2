"""`vidur-sim` from bundle and workload to the tables of a run: predictors, edges and
substitutions.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.errors import IncomparableRunsError, SimulationError
from gpu_timing_assets.core.files import read_json, write_json
from gpu_timing_assets.core.run import RUN_META_FILE, RunMeta, read_complete_run
from gpu_timing_assets.core.tables.invariants import read_run_tables
from gpu_timing_assets.core.tables.schemas import ENGINE_BATCHES, ENGINE_STEPS
from gpu_timing_assets.simulators.vidur_ext import SimInputs, run
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import LOOP, write_workload

PREFILL, DECODE = [20, 40, 33, 90, 8, 60], [12, 6, 20, 5, 30, 9]
ARRIVAL_MS = [0, 4, 9, 30, 31, 200]


@pytest.fixture(scope="session")
def workload(config: ExperimentConfig) -> Path:
    return write_workload(config.data.workload_dir("tiny"), PREFILL, DECODE, ARRIVAL_MS)


@pytest.fixture
def simulate_with(config, bundle, workload) -> Callable[..., tuple[Path, RunMeta]]:
    """`simulate_with(predictor, variant, real_run_dir)` → the run's directory and metadata."""

    def simulate_it(
        predictor: str = "engine",
        variant: str | None = None,
        real: Path | None = None,
        seed: int = 0,
    ):
        changed = config.model_copy(
            update={
                "simulator": config.simulator.model_copy(
                    update={"predictor": predictor, "variant": variant, "seed": seed}
                )
            }
        )
        out = changed.data.sim_run_dir(changed.sim_run_id)
        return out, run(changed, SimInputs(workload, bundle, real), out)

    return simulate_it


@pytest.fixture
def real_run(simulate_with, tmp_path) -> Path:
    """A directory as a real run writes it; what is in it was simulated with another seed."""
    simulated, _ = simulate_with(seed=77)
    real = tmp_path / "real_runs" / "real"
    shutil.copytree(simulated, real)
    meta = read_json(real / RUN_META_FILE)
    write_json(
        real / RUN_META_FILE, {**meta, "run_type": "real", "backend": "vllm", "run_id": "real"}
    )
    return real


@pytest.mark.parametrize("predictor", ["stock", "kernel", "engine"])
def test_each_predictor_writes_a_whole_run(simulate_with, predictor) -> None:
    out, meta = simulate_with(predictor)
    requests, tokens = read_run_tables(out)
    assert requests["num_decode_tokens_actual"].tolist() == DECODE
    assert requests["arrival_time_ns"].tolist() == [int(ms * 1e6) for ms in ARRIVAL_MS]
    assert (requests["status"] == "ok").all()
    assert len(ENGINE_STEPS.read(out)) == meta.details["steps"]
    assert len(tokens) == sum(DECODE)
    assert read_complete_run(out) == meta
    assert (meta.details["predictor"], meta.details["variant"], meta.details["extrapolated"]) == (
        predictor,
        None,
        False,
    )
    assert (out / "config.json").is_file()


def test_the_same_seed_gives_the_same_bytes(simulate_with) -> None:
    out, _ = simulate_with()
    first = {path.name: path.read_bytes() for path in out.glob("*.csv")}
    simulate_with()
    assert {path.name: path.read_bytes() for path in out.glob("*.csv")} == first


def test_the_host_predictor_is_slower_than_its_kernels(simulate_with) -> None:
    engine, kernel = (
        read_run_tables(simulate_with(predictor)[0])[0]["ttft_ns"].median()
        for predictor in ("engine", "kernel")
    )
    assert engine > 2 * kernel


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
    mine = batches[batches["step"] == decode["step"]]["request_id"].tolist()
    times = [
        tokens[(tokens["request_id"] == request) & (tokens["token_time_ns"] > decode["result_ns"])][
            "token_time_ns"
        ].min()
        for request in mine
    ]
    assert times == sorted(times)
    assert len(set(times)) == len(times)


def test_kernels_alone_end_at_the_step_result(simulate_with) -> None:
    out, _ = simulate_with("kernel")
    _, tokens = read_run_tables(out)
    assert set(tokens["token_time_ns"]) <= set(ENGINE_STEPS.read(out)["result_ns"])


def test_the_stock_predictor_knows_less_than_the_kernels(simulate_with) -> None:
    # no embedding, lm_head, sampler and QK-norm
    stock, kernel = (
        read_run_tables(simulate_with(name)[0])[1]["token_latency_ns"].median()
        for name in ("stock", "kernel")
    )
    assert stock < kernel


def test_the_stock_predictor_keeps_its_tables_and_uses_them_again(simulate_with, config) -> None:
    out, _ = simulate_with("stock")
    tables = {
        path: path.stat().st_mtime_ns for path in (config.data.path / "vidur_tables").rglob("*.csv")
    }
    first = (out / "token_metrics.csv").read_bytes()
    assert tables
    simulate_with("stock")
    assert {
        path: path.stat().st_mtime_ns for path in (config.data.path / "vidur_tables").rglob("*.csv")
    } == tables
    assert (out / "token_metrics.csv").read_bytes() == first
    assert not list(config.data.path.rglob("*.pkl"))


def test_the_stock_predictor_trained_again_is_the_same(simulate_with, config) -> None:
    def tokens() -> bytes:
        shutil.rmtree(config.data.path / "vidur_tables", ignore_errors=True)
        return (simulate_with("stock")[0] / "token_metrics.csv").read_bytes()

    assert tokens() == tokens()


def test_recorded_batches_are_replayed_exactly(simulate_with, real_run) -> None:
    out, meta = simulate_with("engine", "recorded_batches", real_run)
    pd.testing.assert_frame_equal(ENGINE_BATCHES.read(out), ENGINE_BATCHES.read(real_run))
    assert meta.details["variant"] == "recorded_batches"
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
    out, _ = simulate_with("engine", "recorded_batches", real_run)
    replayed = ENGINE_BATCHES.read(out)
    assert (
        replayed[replayed["request_id"] == 1]["step"].min()
        > replayed[replayed["request_id"] != 1]["step"].max()
    )
    assert read_run_tables(out)[0]["num_decode_tokens_actual"].tolist() == DECODE


def test_recorded_step_times_reproduce_the_recorded_results(simulate_with, real_run) -> None:
    # the scheduler and the arrivals agree with the recording, so nothing is left that could differ
    out, _ = simulate_with("engine", "recorded_step_times", real_run)
    pd.testing.assert_frame_equal(ENGINE_BATCHES.read(out), ENGINE_BATCHES.read(real_run))
    simulated, recorded = ENGINE_STEPS.read(out), ENGINE_STEPS.read(real_run)
    # to a tenth of a step of this engine: how long after its arrival a request is seen is drawn
    # anew
    difference_ms = (simulated["result_ns"] - recorded["result_ns"]).abs() / 1e6
    assert difference_ms.median() < 0.1
    durations = [frame["result_ns"] - frame["schedule_begin_ns"] for frame in (simulated, recorded)]
    assert np.median(np.abs(durations[0] - durations[1])) < 1000


@pytest.mark.parametrize("variant", ["recorded_batches", "recorded_step_times"])
def test_a_variant_without_a_real_run_says_how_to_make_one(simulate_with, variant) -> None:
    with pytest.raises(SimulationError, match="real-bench workload=tiny"):
        simulate_with("engine", variant, None)


def test_a_variant_refuses_a_real_run_of_another_workload(simulate_with, real_run) -> None:
    meta = read_json(real_run / RUN_META_FILE)
    (real_run / RUN_META_FILE).write_text(json.dumps({**meta, "workload_sha256": "0" * 64}))
    with pytest.raises(IncomparableRunsError, match="replayed another workload"):
        simulate_with("engine", "recorded_batches", real_run)

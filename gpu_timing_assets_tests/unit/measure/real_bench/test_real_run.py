"""`real-bench` from a workload to the directories of its runs, on the null engine in its own
process.
"""

import json
import os
import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gpu_timing_assets.config.experiment import ExperimentConfig, compose, load_snapshot
from gpu_timing_assets.core.directories import SCRATCH_PREFIX
from gpu_timing_assets.core.errors import (
    ArtifactError,
    DeviceError,
    OutOfMemoryError,
    SimulationError,
    UnfinishedArtifactError,
    WorkloadError,
)
from gpu_timing_assets.core.files import CONFIG_FILE, write_json
from gpu_timing_assets.core.locks import lock_holder, lock_of
from gpu_timing_assets.core.run import RealRunMeta, read_complete_run
from gpu_timing_assets.core.tables.invariants import read_run_tables
from gpu_timing_assets.core.tables.schemas import CLOSED_LOOP
from gpu_timing_assets.measure.real_bench import RealBenchInputs, RealBenchResult, run
from gpu_timing_assets.measure.real_bench.scratch import session_scratch
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import (
    target_config,
    write_bundle,
    write_workload,
)

MS = 1_000_000
LENIENT = ("hardware.max_lateness_p99_ms=100000", "backend.warmup_requests=1")


def workload_with_prompts(
    directory: Path, prefill: Sequence[int], decode: Sequence[int], arrival_ms: Sequence[float]
) -> Path:
    write_workload(directory, prefill, decode, arrival_ms)
    rows = [
        {"prompt_id": f"p{index}", "text": None, "token_seed": index}
        for index in range(len(prefill))
    ]
    (directory / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = compose()
    preset = config.workload.model_copy(update={"workload_id": directory.name})
    write_json(directory / CONFIG_FILE, config.model_copy(update={"workload": preset}))
    return directory


def null_config(data_root: Path, *overrides: str) -> ExperimentConfig:
    return compose(["backend=null_engine", f"data_root={data_root}", *LENIENT, *overrides])


def replayed(config: ExperimentConfig, *workload_dirs: Path) -> RealBenchResult:
    return run(config, RealBenchInputs(tuple(workload_dirs)), config.data.path / "real_runs")


@pytest.fixture
def workload(tmp_path: Path) -> Path:
    return workload_with_prompts(tmp_path / "workloads" / "tiny", [8, 5, 9], [4, 6, 2], [0, 20, 30])


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[ExperimentConfig, RealBenchResult]:
    """Two workloads, two repeats of each, in one engine start."""
    root = tmp_path_factory.mktemp("data")
    config = null_config(root)
    one = workload_with_prompts(root / "workloads" / "one", [8, 5, 9], [4, 6, 2], [0, 20, 30])
    two = workload_with_prompts(root / "workloads" / "two", [3, 4], [3, 3], [0, 5])
    return config, replayed(config, one, two)


def test_each_repeat_of_each_workload_is_a_run(session) -> None:
    config, result = session
    metas = [read_complete_run(directory, RealRunMeta) for directory in result.run_dirs]
    assert [(meta.workload_id, meta.repeat) for meta in metas] == [
        ("one", 0),
        ("one", 1),
        ("two", 0),
        ("two", 1),
    ]
    assert len({meta.session for meta in metas}) == 1
    assert all(
        re.fullmatch(rf"(one|two)--{config.target.id}--\d{{8}}t\d{{9}}-r[01]", meta.run_id)
        for meta in metas
    )


def test_a_run_is_the_planned_work(session) -> None:
    requests, tokens = read_run_tables(session[1].run_dirs[0])
    assert requests["arrival_time_ns"].tolist() == [0, 20 * MS, 30 * MS]
    assert requests["num_decode_tokens_actual"].tolist() == [4, 6, 2]
    assert requests["num_prefill_tokens"].tolist() == [8, 5, 9]
    assert (requests["submit_time_ns"] >= requests["arrival_time_ns"]).all()
    assert len(tokens) == 12


def test_its_metadata_says_what_a_comparison_asks(session) -> None:
    meta = read_complete_run(session[1].run_dirs[0], RealRunMeta)
    assert (meta.run_type, meta.backend, meta.status) == ("real", "null_engine", "complete")
    assert meta.params.engine == "null_engine"
    assert meta.params.comparable_under_load is False
    lateness = meta.submission_lateness_ms
    assert 0 <= lateness.p50 <= lateness.p90 <= lateness.p99 <= lateness.max
    assert meta.client_cpu_share > 0
    assert meta.warmup_requests == 1
    assert meta.invalid_reasons == ()
    assert meta.env["packages"]


def test_it_can_be_run_again_from_its_snapshot(session) -> None:
    # of a session of several workloads each run names its own
    config, result = session
    for run_dir in result.run_dirs:
        snapshot = load_snapshot(run_dir)
        assert snapshot.workload.workload_id == run_dir.name.split("--")[0]
        assert snapshot == config.model_copy(update={"workload": snapshot.workload})


def test_nothing_else_is_left(session) -> None:
    config, result = session
    left = {path.name for path in (config.data.path / "real_runs").iterdir()} - {
        directory.name for directory in result.run_dirs
    }
    assert left <= {".locks"}
    assert {path.name for path in result.run_dirs[0].iterdir()} == {
        "config.json",
        "manifest.json",
        "request_metrics.csv",
        "token_metrics.csv",
        "run_meta.json",
        "summary.md",
    }


def test_late_submissions_make_a_run_invalid(workload, tmp_path) -> None:
    config = null_config(tmp_path, "hardware.max_lateness_p99_ms=0.000001", "hardware.repeats=1")
    result = replayed(config, workload)
    assert result.invalid == result.run_dirs
    meta = read_complete_run(result.run_dirs[0], RealRunMeta, allow_invalid=True)
    assert meta.status == "invalid"
    assert re.search(r"submitted .* ms late at p99, over the bound", meta.invalid_reasons[0])
    assert "**invalid**" in (result.run_dirs[0] / "summary.md").read_text()
    with pytest.raises(UnfinishedArtifactError, match="late at p99"):
        read_complete_run(result.run_dirs[0], RealRunMeta)


def test_failed_requests_make_a_run_invalid_and_stay_in_its_tables(workload, tmp_path) -> None:
    # request 1 needs six intervals, the others less than the time limit
    config = null_config(
        tmp_path,
        "hardware.repeats=1",
        "backend.null_token_interval_ms=100",
        "backend.request_timeout_s=0.5",
        "backend.warmup_decode_tokens=1",
    )
    result = replayed(config, workload)
    meta = read_complete_run(result.run_dirs[0], RealRunMeta, allow_invalid=True)
    assert meta.status == "invalid"
    assert "1 of 3 requests failed, the first (request 1) with Timeout" in meta.invalid_reasons[0]
    requests, _ = read_run_tables(result.run_dirs[0])
    assert requests["status"].tolist() == ["ok", "error", "ok"]
    assert requests["error_type"].fillna("").tolist() == ["", "Timeout", ""]


def test_a_closed_loop_records_when_each_request_was_due(tmp_path) -> None:
    workload = workload_with_prompts(
        tmp_path / "workloads" / "loop", [8, 8, 8], [5, 2, 4], [0, 0, 30]
    )
    CLOSED_LOOP.write(
        pd.DataFrame(
            {"request_id": [0, 1, 2], "user_id": [0, 1, 0], "think_time_ns": [0, 10 * MS, 30 * MS]}
        ),
        workload,
    )
    config = null_config(tmp_path, "hardware.repeats=1", "backend.null_token_interval_ms=10")
    (run_dir,) = replayed(config, workload).run_dirs
    requests, _ = read_run_tables(run_dir)
    due, ended = requests["arrival_time_ns"], requests["completion_time_ns"]
    assert due.tolist()[:2] == [0, 10 * MS]
    assert due[2] >= ended[0] + 30 * MS
    assert (requests["ttft_ns"] == requests["first_token_time_ns"] - due).all()


def test_a_closed_loop_is_simulated_at_the_recorded_arrivals(tmp_path) -> None:
    from gpu_timing_assets import simulators

    config = target_config(tmp_path)
    bundle = write_bundle(config.data.profiling_root("h100", "qwen3-tiny"), config)
    workload = workload_with_prompts(tmp_path / "workloads" / "loop", [8, 8], [5, 2], [0, 0])
    CLOSED_LOOP.write(
        pd.DataFrame({"request_id": [0, 1], "user_id": [0, 0], "think_time_ns": [0, 20 * MS]}),
        workload,
    )
    out = config.data.sim_run_dir("sim")
    with pytest.raises(
        SimulationError,
        match="closed loop, whose arrivals only a real run knows.*real-bench workload=loop",
    ):
        simulators.run(config, simulators.SimInputs(workload, bundle), out)
    assert not out.exists()
    (real,) = replayed(null_config(tmp_path, "hardware.repeats=1"), workload).run_dirs
    simulators.run(config, simulators.SimInputs(workload, bundle, real), out)
    assert (
        read_run_tables(out)[0]["arrival_time_ns"].tolist()
        == read_run_tables(real)[0]["arrival_time_ns"].tolist()
    )
    assert np.diff(read_run_tables(out)[0]["arrival_time_ns"]) > 20 * MS


class TestBadInput:
    @pytest.fixture
    def refused(self, tmp_path: Path) -> Callable[..., str]:
        """`refused(error, config, workload)`: the message; nothing was started and nothing is
        left.
        """

        def check(error: type[Exception], config: ExperimentConfig, workload: Path) -> str:
            def never(command: Sequence[str], env: object) -> int:
                pytest.fail("the engine was started")

            with pytest.raises(error) as caught:
                run(config, RealBenchInputs((workload,)), tmp_path / "real_runs", launch=never)
            assert not [
                path for path in (tmp_path / "real_runs").glob("*") if path.name != ".locks"
            ]
            return str(caught.value)

        return check

    def test_a_workload_that_is_not_there(self, refused, tmp_path) -> None:
        message = refused(
            UnfinishedArtifactError, null_config(tmp_path), tmp_path / "workloads" / "none"
        )
        assert "workload-spec workload=none" in message

    def test_an_unfinished_workload(self, refused, workload, tmp_path) -> None:
        (workload / "workload_meta.json").unlink()
        assert "has no workload_meta.json" in refused(
            UnfinishedArtifactError, null_config(tmp_path), workload
        )

    def test_a_workload_that_was_changed(self, refused, workload, tmp_path) -> None:
        path = workload / "trace_lengths.csv"
        path.write_text(path.read_text().replace("p1,5,6", "p1,5,7"))
        assert "trace files are not those" in refused(
            ArtifactError, null_config(tmp_path), workload
        )

    def test_a_request_longer_than_the_context(self, refused, workload, tmp_path) -> None:
        config = null_config(tmp_path)
        config = config.model_copy(
            update={"backend": config.backend.model_copy(update={"max_model_len": 11})}
        )
        message = refused(WorkloadError, config, workload)
        assert "1 request is longer than the context of 11 tokens; the first is" in message
        assert "row 2 of trace_lengths.csv), 8 + 4" in message
        assert "backend.max_model_len" in message

    def test_a_gpu_target_on_a_machine_without_one(
        self, refused, workload, tmp_path, monkeypatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert "hardware=cpu" in refused(
            DeviceError, null_config(tmp_path, "hardware=h100"), workload
        )

    def test_an_interpreter_that_is_not_there(
        self, refused, workload, tmp_path, monkeypatch
    ) -> None:
        monkeypatch.setenv("GPU_TIMING_INTERPRETERS", "/nowhere/python")
        message = refused(
            DeviceError, null_config(tmp_path, "backend.python=/nowhere/python"), workload
        )
        assert "backend.python=/nowhere/python" in message

    def test_prompts_that_are_not_the_workloads(self, workload, tmp_path) -> None:
        # seen by the engine's process, told by the parent
        (workload / "prompts.jsonl").write_text('{"prompt_id": "p0", "text": null}\n')
        with pytest.raises(ArtifactError, match=r"prompts.jsonl, line 1: token_seed is missing"):
            replayed(null_config(tmp_path), workload)
        assert {path.name for path in (tmp_path / "real_runs").iterdir()} <= {".locks"}

    def test_an_engine_that_dies_half_way(self, workload, tmp_path) -> None:
        def killed(command: Sequence[str], env: object) -> int:
            scratch = Path(command[-1]).parent
            (scratch / "replays").mkdir()
            return -signal.SIGKILL

        with pytest.raises(OutOfMemoryError, match="SIGKILL"):
            run(
                null_config(tmp_path),
                RealBenchInputs((workload,)),
                tmp_path / "real_runs",
                launch=killed,
            )
        assert {path.name for path in (tmp_path / "real_runs").iterdir()} <= {".locks"}


class TestLeftovers:
    def test_what_a_killed_session_left_is_removed_by_the_next(self, tmp_path) -> None:
        left = tmp_path / f"{SCRATCH_PREFIX}session-20260101t000000000"
        (left / "replays" / "one" / "0").mkdir(parents=True)
        (left / "recording.jsonl").write_text("half of it")
        with session_scratch(tmp_path, "new") as scratch:
            assert not left.exists()
            assert scratch.is_dir()
        assert {path.name for path in tmp_path.iterdir()} == {".locks"}

    def test_a_session_that_is_running_is_left_alone(self, tmp_path) -> None:
        with (
            session_scratch(tmp_path, "first") as first,
            session_scratch(tmp_path, "second") as second,
        ):
            assert first.is_dir()
            assert second.is_dir()

    def test_a_running_session_holds_the_lock_of_its_directory(self, tmp_path) -> None:
        with session_scratch(tmp_path, "first") as scratch:
            assert f"pid {os.getpid()}" in (lock_holder(lock_of(scratch)) or "")
        assert not lock_of(scratch).exists()

    def test_finished_runs_are_never_removed(self, tmp_path) -> None:
        done = tmp_path / "one--t--20260101t000000000-r0"
        done.mkdir()
        with session_scratch(tmp_path, "new"):
            assert done.is_dir()

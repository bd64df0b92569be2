"""The stage's own process: checks the inputs, has the engine's process do the work, judges and
files the runs.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from gpu_timing_assets.config.experiment import ExperimentConfig, load_snapshot
from gpu_timing_assets.config.model_card import read_model_dimensions
from gpu_timing_assets.core.data_root import relative_to_data_root
from gpu_timing_assets.core.directories import LOCK_PREFIX, SCRATCH_PREFIX
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.core.files import CONFIG_FILE, read_json, write_json
from gpu_timing_assets.core.provenance import git_state
from gpu_timing_assets.core.run import RUN_META_FILE, RealRunMeta
from gpu_timing_assets.core.tables.invariants import read_run_tables, read_workload_tables
from gpu_timing_assets.core.workload import WorkloadMeta, read_complete_workload
from gpu_timing_assets.doctor.examination import preflight
from gpu_timing_assets.engines.child_process import Launcher, run_engine_process
from gpu_timing_assets.engines.memory import memory_needed_bytes
from gpu_timing_assets.measure.real_bench import RealBenchInputs, RealBenchResult
from gpu_timing_assets.measure.real_bench.session import REPLAY_FILE, SESSION_FILE, replay_dir
from gpu_timing_assets.measure.real_bench.summary import run_statistics, summary_markdown


def run(
    config: ExperimentConfig, inputs: RealBenchInputs, out: Path, *, launch: Launcher
) -> RealBenchResult:
    """Replay each workload `config.hardware.repeats` times in one start of the engine.

    `out` is the directory of real runs; each replay becomes a directory of its own there, named
    `<workload_id>--<target>--<UTC stamp>-r<repeat>`, once it is whole. A run that met errors or
    submitted later than the preset allows is filed with status `invalid`.

    Raises `ArtifactError` for a workload that is not whole, `WorkloadError` for a request longer
    than the context, `DeviceError`, `BusyError`, `DiskFullError`, `EngineError`.
    """
    workloads = [read_complete_workload(directory) for directory in inputs.workload_dirs]
    for directory in inputs.workload_dirs:
        _check_context(config, directory)
    preflight(config)
    session = datetime.now(UTC).strftime("%Y%m%dt%H%M%S%f")[:-3]
    with session_scratch(out, session) as scratch:
        run_engine_process(
            "gpu_timing_assets.measure.real_bench.engine_process",
            {
                "config": config.model_dump(mode="json"),
                "workload_dirs": [str(directory) for directory in inputs.workload_dirs],
            },
            scratch,
            config.backend.python,
            launch,
            memory_needed_bytes(config.model, config.hardware),
        )
        said = read_json(scratch / SESSION_FILE)
        run_dirs, invalid = [], []
        for directory, workload in zip(inputs.workload_dirs, workloads, strict=True):
            for repeat in range(config.hardware.repeats):
                run_dir = out / f"{workload.workload_id}--{config.target.id}--{session}-r{repeat}"
                meta = _file_run(
                    config,
                    workload,
                    directory,
                    replay_dir(scratch, workload.workload_id, repeat),
                    run_dir,
                    session,
                    repeat,
                    said,
                )
                run_dirs.append(run_dir)
                if meta.status != "complete":
                    invalid.append(run_dir)
    return RealBenchResult(tuple(run_dirs), tuple(invalid))


@contextmanager
def session_scratch(out: Path, session: str) -> Iterator[Path]:
    """A scratch directory for one session, gone when the block ends; those that killed sessions
    left are removed first.

    A session holds an `flock` on its directory, which the kernel releases when it dies.
    """
    out.mkdir(parents=True, exist_ok=True)
    scratch = out / f"{SCRATCH_PREFIX}session-{session}"
    sessions = os.open(out / f"{LOCK_PREFIX}sessions", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        # waits for the moment in which another session makes its directory and has not locked it
        # yet
        fcntl.flock(sessions, fcntl.LOCK_EX)
        for left in out.glob(f"{SCRATCH_PREFIX}session-*"):
            if (lock := _locked(left)) is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(lock)
        scratch.mkdir()
        held = _locked(scratch)
        assert held is not None
    finally:
        os.close(sessions)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        os.close(held)


def _locked(directory: Path) -> int | None:
    """The descriptor that holds the lock on `directory`, None if a living process has it."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _check_context(config: ExperimentConfig, workload_dir: Path) -> None:
    limit = (
        config.backend.max_model_len or read_model_dimensions(config.model).max_position_embeddings
    )
    lengths, _ = read_workload_tables(workload_dir)
    total = lengths["num_prefill_tokens"] + lengths["num_decode_tokens"]
    if (total > limit).any():
        row = int((total > limit).to_numpy().argmax())
        raise WorkloadError(
            f"{workload_dir}/trace_lengths.csv, row {row + 2}: request {row} needs a context of "
            f"{total.iloc[row]} tokens, "
            f"the engine's is {limit}: raise backend.max_model_len or filter the workload"
        )


def _file_run(
    config: ExperimentConfig,
    workload: WorkloadMeta,
    workload_dir: Path,
    replayed: Path,
    run_dir: Path,
    session: str,
    repeat: int,
    said: dict[str, Any],
) -> RealRunMeta:
    replay = read_json(replayed / REPLAY_FILE)
    requests, tokens = read_run_tables(replayed)
    statistics = run_statistics(requests, tokens)
    reasons = _invalid_reasons(config, requests, statistics)
    commit, dirty = git_state()
    meta = RealRunMeta(
        run_id=run_dir.name,
        status="invalid" if reasons else "complete",
        model=config.model.name,
        hardware=config.hardware.name,
        backend=config.backend.name,
        workload_id=workload.workload_id,
        workload_sha256=workload.workload_sha256,
        started_at=replay["started_at"],
        ended_at=replay["ended_at"],
        git_commit=commit,
        git_dirty=dirty,
        env=said["env"],
        params=EngineParams.model_validate(said["params"]),
        workload_dir=relative_to_data_root(workload_dir, run_dir),
        session=session,
        repeat=repeat,
        repeats=config.hardware.repeats,
        invalid_reasons=tuple(reasons),
        warmup_requests=said["warmup_requests"],
        engine_start_s=said["engine_start_s"],
        replay_s=replay["replay_s"],
        client_cpu_share=replay["client_cpu_share"],
        early_stopping=config.backend.early_stopping,
        **statistics,
    )
    # the replay's directory lies in the session's scratch directory, beside the runs: renamed, it
    # is a run as a whole
    (replayed / REPLAY_FILE).unlink()
    # several workloads share a session: each run holds the configuration that replays it alone
    write_json(
        replayed / CONFIG_FILE,
        config.model_copy(update={"workload": load_snapshot(workload_dir).workload}),
    )
    (replayed / "summary.md").write_text(summary_markdown(meta), encoding="utf-8")
    write_json(replayed / RUN_META_FILE, meta)
    replayed.rename(run_dir)
    return meta


def _invalid_reasons(
    config: ExperimentConfig, requests: pd.DataFrame, statistics: dict[str, Any]
) -> list[str]:
    reasons = []
    failed = int((requests["status"] == "error").sum())
    if failed:
        first = requests[requests["status"] == "error"].iloc[0]
        reasons.append(
            f"{failed} of {len(requests)} requests failed, the first (request "
            f"{first['request_id']}) with "
            f"{first.get('error_type')}: {first.get('error_msg')}"
        )
    lateness = statistics["submission_lateness_ms"]
    if lateness["p99"] > config.hardware.max_lateness_p99_ms:
        reasons.append(
            f"requests were submitted {lateness['p99']:.1f} ms late at p99, over the bound of "
            f"{config.hardware.max_lateness_p99_ms:g} ms: the client or the machine was too busy"
        )
    return reasons

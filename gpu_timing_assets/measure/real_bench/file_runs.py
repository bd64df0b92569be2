"""The stage `real-bench`: checks its inputs, has the engine replay them, judges and files runs."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from gpu_timing_assets.config.experiment import ExperimentConfig, load_snapshot
from gpu_timing_assets.config.model_card import check_model, context_limit, longer_context
from gpu_timing_assets.core.data_root import check_name, relative_to_data_root
from gpu_timing_assets.core.files import CONFIG_FILE, read_metadata, write_json
from gpu_timing_assets.core.manifest import write_manifest
from gpu_timing_assets.core.provenance import git_state
from gpu_timing_assets.core.run import RUN_META_FILE, RealRunMeta, RunStatistics
from gpu_timing_assets.core.tables.invariants import (
    check_context,
    read_run_tables,
    read_workload_tables,
)
from gpu_timing_assets.core.workload import WorkloadMeta, read_complete_workload
from gpu_timing_assets.doctor.examination import preflight
from gpu_timing_assets.engines.child_process import (
    Launcher,
    run_engine_process,
    subprocess_launcher,
)
from gpu_timing_assets.engines.memory import memory_needed_bytes
from gpu_timing_assets.engines.session import SESSION_FILE, Session
from gpu_timing_assets.measure.real_bench.scratch import (
    REPLAY_FILE,
    ReplayFacts,
    replay_dir,
    session_scratch,
)
from gpu_timing_assets.measure.real_bench.summary import run_statistics, summary_markdown


@dataclass(frozen=True)
class RealBenchInputs:
    """The workloads to replay, in this order, in one start of the engine."""

    workload_dirs: tuple[Path, ...]


@dataclass(frozen=True)
class RealBenchResult:
    """One directory for each workload and repeat; `invalid` ones break the preset's bounds."""

    run_dirs: tuple[Path, ...]
    invalid: tuple[Path, ...]


@dataclass(frozen=True)
class Replay:
    """Repeat number `repeat` of a workload in the session of that name, measured but not filed."""

    workload_dir: Path
    workload: WorkloadMeta
    session_name: str
    session: Session
    repeat: int
    measured: Path


def run(
    config: ExperimentConfig,
    inputs: RealBenchInputs,
    out: Path,
    *,
    launch: Launcher = subprocess_launcher,
) -> RealBenchResult:
    """Replay each workload `config.hardware.repeats` times in one start of the engine.

    `out` is the directory of real runs; each replay becomes a directory of its own there, named
    `<workload_id>--<target>--<UTC stamp>-r<repeat>`, once it is whole. A run that met errors or
    submitted later than the preset allows is filed with status `invalid`.

    Raises `ArtifactError` for a workload that is not whole, `WorkloadError` for a request longer
    than the context, `PresetError` for a model that is not supported, `DeviceError`,
    `BusyError`, `DiskFullError`, `EngineError`.
    """
    check_model(config.model, config.backend)
    limit = context_limit(config.model, config.backend)
    remedy = f"filter the workload, or {longer_context(config.model, config.backend)}"
    workloads = [read_complete_workload(directory) for directory in inputs.workload_dirs]
    for directory in inputs.workload_dirs:
        check_context(read_workload_tables(directory)[0], limit, str(directory), remedy)
    preflight(config)
    name = datetime.now(UTC).strftime("%Y%m%dt%H%M%S%f")[:-3]
    metas = []
    with session_scratch(out, name) as scratch:
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
        session = read_metadata(scratch / SESSION_FILE, Session)
        for directory, workload in zip(inputs.workload_dirs, workloads, strict=True):
            for repeat in range(config.hardware.repeats):
                measured = replay_dir(scratch, workload.workload_id, repeat)
                replay = Replay(directory, workload, name, session, repeat, measured)
                metas.append(_file_run(config, replay, out))
    return RealBenchResult(
        tuple(out / meta.run_id for meta in metas),
        tuple(out / meta.run_id for meta in metas if meta.status != "complete"),
    )


def _file_run(config: ExperimentConfig, replay: Replay, out: Path) -> RealRunMeta:
    measured, workload = replay.measured, replay.workload
    target = config.target.id
    run_id = f"{workload.workload_id}--{target}--{replay.session_name}-r{replay.repeat}"
    run_dir = out / check_name(run_id, "run_id")
    facts = read_metadata(measured / REPLAY_FILE, ReplayFacts)
    requests, tokens = read_run_tables(measured)
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
        git_commit=commit,
        git_dirty=dirty,
        env=replay.session.env,
        params=replay.session.params,
        workload_dir=relative_to_data_root(replay.workload_dir, run_dir),
        session=replay.session_name,
        repeat=replay.repeat,
        repeats=config.hardware.repeats,
        invalid_reasons=tuple(reasons),
        warmup_requests=config.backend.warmup_requests,
        engine_start_s=replay.session.engine_start_s,
        early_stopping=config.backend.early_stopping,
        **vars(facts),
        **dict(statistics),
    )
    # the replay's directory lies beside the runs: renamed, it is one as a whole
    (measured / REPLAY_FILE).unlink()
    # several workloads share a session: each run holds the configuration that replays it alone
    own = load_snapshot(replay.workload_dir).workload
    write_json(measured / CONFIG_FILE, config.model_copy(update={"workload": own}))
    (measured / "summary.md").write_text(summary_markdown(meta), encoding="utf-8")
    write_json(measured / RUN_META_FILE, meta)
    write_manifest(measured)
    measured.rename(run_dir)
    return meta


def _invalid_reasons(
    config: ExperimentConfig, requests: pd.DataFrame, statistics: RunStatistics
) -> list[str]:
    reasons = []
    failed = requests[requests["status"] == "error"]
    if len(failed):
        first = failed.iloc[0]
        reasons.append(
            f"{len(failed)} of {len(requests)} requests failed, the first (request "
            f"{first['request_id']}) with {first.get('error_type')}: {first.get('error_msg')}"
        )
    late_ms = statistics.submission_lateness_ms.p99
    if late_ms > config.hardware.max_lateness_p99_ms:
        reasons.append(
            f"requests were submitted {late_ms:.1f} ms late at p99, over the bound of "
            f"{config.hardware.max_lateness_p99_ms:g} ms: the client or the machine was too busy"
        )
    return reasons

"""The process that owns the engine: replays each workload `repeats` times, writes run tables."""

import asyncio
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gpu_timing_assets.config.experiment import ExperimentConfig, validate
from gpu_timing_assets.core.closed_loop import read_closed_loop
from gpu_timing_assets.core.files import write_json
from gpu_timing_assets.core.host_probe import HostProbe
from gpu_timing_assets.core.prompts import read_prompt_token_ids
from gpu_timing_assets.core.provenance import utc_now
from gpu_timing_assets.core.tables.invariants import read_workload_tables
from gpu_timing_assets.core.tables.run_tables import run_tables_from_token_times
from gpu_timing_assets.core.tables.schemas import (
    ENGINE_BATCHES,
    ENGINE_STEPS,
    REQUEST_METRICS,
    TOKEN_METRICS,
)
from gpu_timing_assets.engines.base import Engine, Report
from gpu_timing_assets.engines.child_process import engine_process_main
from gpu_timing_assets.engines.host_probe import probe_host
from gpu_timing_assets.engines.recorded_steps import RecordedSteps, describe_steps
from gpu_timing_assets.engines.replay import PlannedRequest, ReplayResult, replay
from gpu_timing_assets.engines.session import engine_session
from gpu_timing_assets.engines.warmup import warm_up
from gpu_timing_assets.measure.real_bench.progress import shown_progress
from gpu_timing_assets.measure.real_bench.scratch import REPLAY_FILE, ReplayFacts, replay_dir


@dataclass(frozen=True)
class Workload:
    """What a workload's directory says of its requests; `prompts` are token ids."""

    directory: Path
    lengths: pd.DataFrame
    intervals: pd.DataFrame
    prompts: list[list[int]]

    @classmethod
    def read(cls, directory: Path) -> "Workload":
        return cls(directory, *read_workload_tables(directory), read_prompt_token_ids(directory))

    def planned(self, tag: str) -> list[PlannedRequest]:
        """Its requests; of a closed loop each user's after the one before, by its think time."""
        arrivals = self.intervals["arrival_time_ns"].tolist()
        waits_for: list[int | None] = [None] * len(self.lengths)
        if (closed_loop := read_closed_loop(self.directory)) is not None:
            arrivals = closed_loop["think_time_ns"].tolist()
            before = closed_loop.groupby("user_id")["request_id"].shift(1)
            waits_for = [None if pd.isna(request) else int(request) for request in before]
        decode = self.lengths["num_decode_tokens"].tolist()
        return [
            PlannedRequest(f"{tag}.{index}", arrival, prompt, tokens, after)
            for index, (arrival, prompt, tokens, after) in enumerate(
                zip(arrivals, self.prompts, decode, waits_for, strict=True)
            )
        ]


@dataclass(frozen=True)
class Replayed:
    """A replay of a workload whose requests the engine knows as `<tag>.<request id>`."""

    tag: str
    out: Path
    workload: Workload
    result: ReplayResult


def work(request: dict[str, Any], scratch: Path, report: Report) -> None:
    """Serve the request of `file_runs.run`: everything goes to `scratch`."""
    config = validate(request["config"], "the request")
    directories = [Path(directory) for directory in request["workload_dirs"]]
    with engine_session(config, scratch, report) as engine:
        replays = asyncio.run(_replay_all(engine, config, directories, scratch, report))
        if engine.recording:
            recorded = engine.recording.read()
            for replayed in replays:
                _write_engine_tables(engine, recorded, replayed)


async def _replay_all(
    engine: Engine, config: ExperimentConfig, directories: list[Path], scratch: Path, report: Report
) -> list[Replayed]:
    await warm_up(engine, config.backend)
    await engine.observe_steps(config.backend.observe_steps)
    replays: list[Replayed] = []
    probe = await _probe(engine, config, 0)
    workloads = [Workload.read(directory) for directory in directories]
    # repeats outermost: a machine that drifts then shows as noise between a workload's repeats
    repeats = range(config.hardware.repeats)
    for repeat, (number, workload) in itertools.product(repeats, enumerate(workloads)):
        name = workload.directory.name
        label = f"{name}, repeat {repeat + 1} of {len(repeats)}"
        report(f"replaying {label}")
        tag, out = f"w{number}r{repeat}", replay_dir(scratch, name, repeat)
        planned, started_at = workload.planned(tag), utc_now()
        with shown_progress(label, report) as on_progress:
            result = await replay(
                engine,
                planned,
                stop_early=config.backend.early_stopping,
                request_timeout_s=config.backend.request_timeout_s,
                on_progress=on_progress,
            )
        probe_before, probe = probe, await _probe(engine, config, len(replays) + 1)
        out.mkdir(parents=True)
        _write_run_tables(result, workload.lengths, out)
        facts = ReplayFacts(
            started_at=started_at,
            ended_at=utc_now(),
            replay_s=result.wall_s,
            client_cpu_share=result.client_cpu_share,
            probe_before=probe_before,
            probe_after=probe,
        )
        write_json(out / REPLAY_FILE, facts)
        replays.append(Replayed(tag, out, workload, result))
    await engine.flush_recording()
    return replays


async def _probe(engine: Engine, config: ExperimentConfig, number: int) -> HostProbe | None:
    """The host's speed right now: behind one replay and before the next."""
    backend = config.backend
    if not backend.probe_host:
        return None
    return await probe_host(engine, f"probe{number}", backend, observe_on=backend.observe_steps)


def _write_run_tables(result: ReplayResult, lengths: pd.DataFrame, out: Path) -> None:
    requests, tokens = run_tables_from_token_times(
        lengths, result.arrival_ns, result.token_request, result.token_ns
    )
    requests["submit_time_ns"] = pd.array(result.submit_ns, dtype="Int64")
    requests.loc[result.submit_ns < 0, "submit_time_ns"] = pd.NA
    failed = pd.Series(result.errors, dtype=object)
    requests.loc[failed.index, "status"] = "error"
    requests["error_type"] = failed.map(lambda error: error[0]).reindex(requests.index)
    requests["error_msg"] = failed.map(lambda error: error[1]).reindex(requests.index)
    REQUEST_METRICS.write(requests, out)
    TOKEN_METRICS.write(tokens, out)


def _write_engine_tables(engine: Engine, recorded: RecordedSteps, replayed: Replayed) -> None:
    """The steps that held requests of this replay, numbered from 0, on its clock."""
    batches = recorded.batches_of(replayed.tag)
    prompt_tokens = replayed.workload.lengths["num_prefill_tokens"]
    steps = describe_steps(recorded.steps, batches, prompt_tokens, engine.params)
    number = pd.Series(np.arange(len(steps)), index=steps["step"])
    batches["step"] = number.reindex(batches["step"]).to_numpy()
    steps["step"] = number.to_numpy()
    times = [name for name in steps.columns if name.endswith("_ns")]
    steps[times] -= replayed.result.start_ns
    if steps["gpu_end_ns"].isna().all():
        steps = steps.drop(columns=["gpu_begin_ns", "gpu_end_ns"])
    ENGINE_STEPS.write(steps.rename(columns={"update_end_ns": "result_ns"}), replayed.out)
    ENGINE_BATCHES.write(batches, replayed.out)


if __name__ == "__main__":
    engine_process_main(work)

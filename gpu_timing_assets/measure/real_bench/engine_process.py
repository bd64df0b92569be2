"""The process that owns the engine: starts it, replays each workload `repeats` times, writes the
run tables.
"""

import asyncio
import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gpu_timing_assets.config.experiment import ExperimentConfig, validate
from gpu_timing_assets.core.closed_loop import read_closed_loop
from gpu_timing_assets.core.files import write_json
from gpu_timing_assets.core.prompts import read_prompt_token_ids
from gpu_timing_assets.core.provenance import environment, utc_now
from gpu_timing_assets.core.tables.invariants import read_workload_tables
from gpu_timing_assets.core.tables.run_tables import run_tables_from_token_times
from gpu_timing_assets.core.tables.schemas import (
    ENGINE_BATCHES,
    ENGINE_STEPS,
    REQUEST_METRICS,
    TOKEN_METRICS,
)
from gpu_timing_assets.engines.base import Engine
from gpu_timing_assets.engines.child_process import PIPES_VARIABLE, engine_process_main
from gpu_timing_assets.engines.device import exclusive_device
from gpu_timing_assets.engines.replay import PlannedRequest, Progress, ReplayResult, replay
from gpu_timing_assets.engines.start import start_engine
from gpu_timing_assets.engines.vllm.recording import describe_steps, read_recording
from gpu_timing_assets.engines.warmup import warm_up
from gpu_timing_assets.measure.real_bench.session import REPLAY_FILE, SESSION_FILE, replay_dir


def work(request: dict[str, Any], scratch: Path, report: Callable[[str], None]) -> None:
    """Serve the request of `stage.run`: everything goes to `scratch`."""
    config = validate(request["config"], "the request")
    workload_dirs = [Path(directory) for directory in request["workload_dirs"]]
    with exclusive_device(
        config.hardware, config.backend.tensor_parallel_size, report
    ) as device_name:
        report(f"starting {config.backend.name} for {config.model.name} on {config.hardware.name}")
        begin = time.monotonic()
        engine = start_engine(config, scratch, device_name)
        start_s = time.monotonic() - begin
        report(
            f"engine started in {start_s:.0f} s: {engine.params.engine} "
            f"{engine.params.engine_version}"
        )
        replays = asyncio.run(_replay_all(engine, config, workload_dirs, scratch, report))
        if engine.recording:
            _write_engine_tables(engine, replays, scratch)
        write_json(
            scratch / SESSION_FILE,
            {
                "params": engine.params.model_dump(mode="json"),
                "env": environment(),
                "engine_start_s": start_s,
                "warmup_requests": config.backend.warmup_requests,
            },
        )
        engine.shutdown()


async def _replay_all(
    engine: Engine,
    config: ExperimentConfig,
    workload_dirs: list[Path],
    scratch: Path,
    report: Callable[[str], None],
) -> list[tuple[Path, str, pd.Series, ReplayResult]]:
    backend = config.backend
    await warm_up(engine, backend)
    replays = []
    loaded = [
        (directory, *read_workload_tables(directory), read_prompt_token_ids(directory))
        for directory in workload_dirs
    ]
    # repeats outermost: a machine that drifts then shows as noise between the repeats of each
    # workload
    for repeat, (number, (workload_dir, lengths, intervals, prompts)) in itertools.product(
        range(config.hardware.repeats), enumerate(loaded)
    ):
        tag = f"w{number}r{repeat}"
        planned = _planned(tag, workload_dir, lengths, intervals, prompts)
        label = f"{workload_dir.name}, repeat {repeat + 1} of {config.hardware.repeats}"
        report(f"replaying {label}")
        started_at = utc_now()
        with _progress(label, report) as on_progress:
            result = await replay(
                engine,
                planned,
                stop_early=backend.early_stopping,
                request_timeout_s=backend.request_timeout_s,
                on_progress=on_progress,
            )
        out = replay_dir(scratch, workload_dir.name, repeat)
        out.mkdir(parents=True)
        _write_run_tables(result, lengths, out)
        write_json(
            out / REPLAY_FILE,
            {
                "started_at": started_at,
                "ended_at": utc_now(),
                "replay_s": result.wall_s,
                "client_cpu_share": result.client_cpu_share,
            },
        )
        replays.append((out, tag, lengths["num_prefill_tokens"], result))
    await engine.flush_recording()
    return replays


def _planned(
    tag: str,
    workload_dir: Path,
    lengths: pd.DataFrame,
    intervals: pd.DataFrame,
    prompts: list[list[int]],
) -> list[PlannedRequest]:
    """The workload's requests; of a closed loop each user's after the one before, by its think
    time.
    """
    arrivals = intervals["arrival_time_ns"].tolist()
    waits_for: list[int | None] = [None] * len(lengths)
    if (closed_loop := read_closed_loop(workload_dir)) is not None:
        arrivals = closed_loop["think_time_ns"].tolist()
        before = closed_loop.groupby("user_id")["request_id"].shift(1)
        waits_for = [None if pd.isna(request) else int(request) for request in before]
    return [
        PlannedRequest(f"{tag}.{index}", arrival, prompts[index], decode, after)
        for index, (arrival, decode, after) in enumerate(
            zip(arrivals, lengths["num_decode_tokens"].tolist(), waits_for, strict=True)
        )
    ]


class _progress:
    """A bar on a terminal, a line every few seconds in a log."""

    def __init__(self, label: str, report: Callable[[str], None]) -> None:
        import os

        self._label, self._report, self._last = label, report, 0.0
        self._bar = None
        if PIPES_VARIABLE not in os.environ and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(desc=label, unit="request")

    def __enter__(self) -> Callable[[Progress], None]:
        return self._show

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _show(self, progress: Progress) -> None:
        if self._bar is not None:
            self._bar.total = progress.requests_total
            self._bar.n = progress.requests_done
            self._bar.set_postfix_str(
                f"{progress.tokens / max(progress.elapsed_s, 1e-9):,.0f} tokens/s"
            )
            self._bar.refresh()
        elif (
            progress.elapsed_s - self._last >= 5
            or progress.requests_done == progress.requests_total
        ):
            self._last = progress.elapsed_s
            self._report(f"{self._label}: {progress}")


def _write_run_tables(result: ReplayResult, lengths: pd.DataFrame, out: Path) -> None:
    requests, tokens = run_tables_from_token_times(
        lengths, result.arrival_ns, result.token_request, result.token_ns
    )
    requests["submit_time_ns"] = pd.array(
        np.where(result.submit_ns < 0, 0, result.submit_ns), dtype="Int64"
    )
    requests.loc[result.submit_ns < 0, "submit_time_ns"] = pd.NA
    failed = pd.Series(result.errors, dtype=object)
    requests.loc[failed.index, "status"] = "error"
    requests["error_type"] = failed.map(lambda error: error[0]).reindex(requests.index)
    requests["error_msg"] = failed.map(lambda error: error[1]).reindex(requests.index)
    REQUEST_METRICS.write(requests, out)
    TOKEN_METRICS.write(tokens, out)


def _write_engine_tables(
    engine: Engine, replays: list[tuple[Path, str, pd.Series, ReplayResult]], scratch: Path
) -> None:
    assert engine.recording is not None
    all_steps, all_batches = read_recording(engine.recording)
    named = all_batches["request"].str.split(".", n=1, expand=True)
    for out, tag, prompt_tokens, result in replays:
        mine = (named[0] == tag).to_numpy()
        batches = all_batches[mine].assign(request_id=named[1][mine].astype("int64"))
        steps = describe_steps(
            all_steps,
            batches,
            prompt_tokens,
            engine.params.graph_mode,
            engine.params.graph_capture_sizes,
        )
        number = pd.Series(np.arange(len(steps)), index=steps["step"])
        batches["step"] = number.reindex(batches["step"]).to_numpy()
        steps["step"] = number.to_numpy()
        for column in ("schedule_begin_ns", "schedule_end_ns", "update_end_ns"):
            steps[column] -= result.start_ns
        ENGINE_STEPS.write(steps.rename(columns={"update_end_ns": "result_ns"}), out)
        ENGINE_BATCHES.write(batches, out)


if __name__ == "__main__":
    engine_process_main(work)

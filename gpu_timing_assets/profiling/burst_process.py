"""The process that drives the real engine through the bursts and writes what the engine and the client saw."""

import asyncio
import dataclasses
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gpu_timing_assets.artifacts.bundle import BURST_BATCHES, BURST_REQUESTS, BURST_STEPS
from gpu_timing_assets.artifacts.errors import EngineError, ProfilingBundleError
from gpu_timing_assets.artifacts.metadata import write_json
from gpu_timing_assets.artifacts.provenance import environment
from gpu_timing_assets.engine.child_process import engine_process_main
from gpu_timing_assets.engine.device import exclusive_device
from gpu_timing_assets.engine.interface import Engine
from gpu_timing_assets.engine.recording import describe_steps, read_recording
from gpu_timing_assets.engine.replay import ReplayResult, replay
from gpu_timing_assets.engine.start import start_engine
from gpu_timing_assets.engine.warmup import warm_up
from gpu_timing_assets.presets.experiment import ExperimentConfig, validate
from gpu_timing_assets.profiling.burst_plan import (
    Burst,
    decode_bursts,
    idle_burst,
    injection_bursts,
    prefill_bursts,
    storm_bursts,
)
from gpu_timing_assets.profiling.parts import BURSTS_DIR, SESSION_FILE

BURST_SEED = 20_000


@dataclasses.dataclass(frozen=True)
class _Played:
    """A burst, the first part of its requests' ids, and what the client saw."""

    burst: Burst
    tag: str
    result: ReplayResult


def work(request: dict[str, Any], scratch: Path, report: Callable[[str], None]) -> None:
    config = validate(request["config"], "the request")
    with exclusive_device(config.hardware, config.backend.tensor_parallel_size) as device_name:
        report(f"starting {config.backend.name} for {config.model.name} on {config.hardware.name}")
        begin = time.monotonic()
        engine = start_engine(config, scratch, device_name)
        start_s = time.monotonic() - begin
        report(f"engine started in {start_s:.0f} s: {engine.params.engine} {engine.params.engine_version}")
        begin = time.monotonic()
        try:
            played = asyncio.run(_play_all(engine, config, report))
        except Exception as error:
            if type(error).__name__ == "EngineDeadError":
                raise EngineError("the engine died in the middle of a burst: its log is above; start it again") from None
            raise
        _write_tables(engine, played, scratch / BURSTS_DIR)
        bursts_s = time.monotonic() - begin
        report(f"{len(played)} bursts in {bursts_s:.0f} s")
        write_json(
            scratch / SESSION_FILE,
            {
                "params": engine.params.model_dump(mode="json"),
                "env": environment(),
                "engine_start_s": start_s,
                "bursts_s": bursts_s,
            },
        )
        engine.shutdown()


async def _play_all(engine: Engine, config: ExperimentConfig, report: Callable[[str], None]) -> list[_Played]:
    grid, params = config.profiling, engine.params
    played: list[_Played] = []
    last_report, numbers = time.monotonic(), itertools.count()

    async def play(burst: Burst) -> _Played:
        nonlocal last_report
        tag = f"b{next(numbers)}"
        requests = [dataclasses.replace(request, name=f"{tag}.{request.name}") for request in burst.requests]
        result = await replay(engine, requests, request_timeout_s=config.backend.request_timeout_s)
        if result.errors:
            kind, message = next(iter(result.errors.values()))
            raise EngineError(f"a request of a {burst.kind} burst failed with {kind}: {message}")
        played.append(_Played(burst, tag, result))
        if time.monotonic() - last_report > 5:
            last_report = time.monotonic()
            report(f"{len(played)} bursts played, the last of kind {burst.kind}")
        return played[-1]

    await warm_up(engine, config.backend)
    # the first pass of a shape compiles, captures or allocates something: it is played twice, and the first is dropped
    for burst in [*decode_bursts(grid, params)][:2]:
        await play(burst)
    await play(idle_burst(grid, params, BURST_SEED - 1))
    played.clear()
    decode_step_ms: dict[int, float] = {}
    prefill_ms: dict[int, list[float]] = {}
    rounds = grid.burst_repeats
    for repeat in range(rounds):
        for burst in [*decode_bursts(grid, params)][repeat::rounds]:
            result = (await play(burst)).result
            mine = result.token_ns[result.token_request == len(burst.requests) - 1]
            decode_step_ms[len(burst.requests)] = float(np.median(np.diff(mine))) / 1e6
        result = (await play(burst := idle_burst(grid, params, BURST_SEED + repeat))).result
        for index, request in enumerate(burst.requests):
            first_ns = result.token_ns[result.token_request == index][0]
            prefill_ms.setdefault(len(request.prompt_token_ids), []).append((first_ns - request.arrival_ns) / 1e6)
        typical_ms = {length: float(np.median(times)) for length, times in prefill_ms.items()}
        for burst in (
            *injection_bursts(grid, params, decode_step_ms, typical_ms, BURST_SEED, repeat),
            *prefill_bursts(grid, params, typical_ms),
            *[*storm_bursts(grid, params, BURST_SEED)][repeat::rounds],
        ):
            await play(burst)
    await engine.flush_recording()
    return played


def _write_tables(engine: Engine, played: list[_Played], out: Path) -> None:
    if engine.recording is None:
        raise ProfilingBundleError("profiling needs the engine's steps recorded: set backend.record_steps=true")
    all_steps, all_batches = read_recording(engine.recording)
    named = all_batches["request"].str.split(".", n=1, expand=True)
    all_steps = all_steps.dropna().astype("int64")
    origin_ns = played[0].result.start_ns
    steps_of, requests_of, batches_of = [], [], []
    for number, one in enumerate(played):
        mine = (named[0] == one.tag).to_numpy()
        batches = all_batches[mine].assign(request_id=named[1][mine].astype("int64")).drop(columns="request")
        steps, requests = _tables_of_burst(one, batches, all_steps, engine, origin_ns)
        steps_of.append(steps.assign(burst=number, kind=one.burst.kind))
        requests_of.append(requests.assign(burst=number, kind=one.burst.kind))
        batches_of.append(batches.assign(burst=number))
    out.mkdir(parents=True, exist_ok=True)
    BURST_STEPS.write(pd.concat(steps_of), out)
    BURST_REQUESTS.write(pd.concat(requests_of), out)
    storms = [number for number, one in enumerate(played) if one.burst.kind == "storm"]
    batches = pd.concat(batches_of)
    BURST_BATCHES.write(batches[batches["burst"].isin(storms)], out)


def _tables_of_burst(
    one: _Played, batches: pd.DataFrame, all_steps: pd.DataFrame, engine: Engine, origin_ns: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    planned, result = one.burst.requests, one.result
    prompt_tokens = pd.Series([len(request.prompt_token_ids) for request in planned])
    output_tokens = pd.Series([request.num_tokens for request in planned])
    steps = describe_steps(all_steps, batches, prompt_tokens, engine.params.graph_mode, engine.params.graph_capture_sizes)
    chunk, computed = batches["num_scheduled_tokens"], batches["num_computed_tokens"]
    prompt = prompt_tokens.reindex(batches["request_id"]).to_numpy()
    # a step that completes the prompt, or any decode step, yields the request's next token
    yields = (computed + chunk).to_numpy() >= prompt
    token_index = np.where(yields, (computed + chunk).to_numpy() - prompt, -1)
    client = pd.DataFrame({"request_id": result.token_request, "client_ns": result.token_ns + result.start_ns})
    client["token_index"] = client.groupby("request_id").cumcount()
    made = batches.assign(
        token_index=token_index, pairs=np.where(computed < prompt, chunk * computed + chunk * (chunk + 1) // 2, 0)
    )
    made = made.merge(client, on=["request_id", "token_index"], how="left")
    by_step = (
        made.groupby("step")
        .agg(
            prefill_attention_pairs=("pairs", "sum"),
            num_outputs=("client_ns", "count"),
            client_first_ns=("client_ns", "min"),
            client_last_ns=("client_ns", "max"),
        )
        .reset_index()
    )
    steps = steps.merge(by_step, on="step", how="left")

    first_step = batches.groupby("request_id")["step"].min()
    answer_step = made[made["token_index"] == 0].groupby("request_id")["step"].min()
    by_number = all_steps.set_index("step")
    first_token = client[client["token_index"] == 0].set_index("request_id")["client_ns"]
    last_token = client.groupby("request_id")["client_ns"].max()
    arrival = np.array([request.arrival_ns for request in planned]) + result.start_ns
    in_flight = [int(((arrival < at) & (last_token.reindex(range(len(planned))) > at)).sum()) for at in arrival]
    requests = pd.DataFrame(
        {
            "request_id": range(len(planned)),
            "arrival_ns": arrival,
            "submit_ns": result.submit_ns + result.start_ns,
            "first_schedule_begin_ns": by_number["schedule_begin_ns"].reindex(first_step.sort_index().to_numpy()).to_numpy(),
            "first_update_end_ns": by_number["update_end_ns"].reindex(answer_step.sort_index().to_numpy()).to_numpy(),
            "first_token_ns": first_token.sort_index().to_numpy(),
            "num_prefill_tokens": prompt_tokens,
            "num_decode_tokens": output_tokens,
            "num_in_flight": in_flight,
        }
    )
    for frame in (steps, requests):
        for column in frame.columns:
            if column.endswith("_ns"):
                frame[column] = (frame[column] - origin_ns).astype("Int64")
    return steps, requests


if __name__ == "__main__":
    engine_process_main(work)

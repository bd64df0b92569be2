"""The process that drives the real engine through the bursts and writes what the engine and the
client saw.
"""

import asyncio
import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gpu_timing_assets.config.experiment import ExperimentConfig, validate
from gpu_timing_assets.config.profiling import ProfilingPreset
from gpu_timing_assets.core.errors import EngineError, ProfilingBundleError
from gpu_timing_assets.core.files import write_json
from gpu_timing_assets.core.provenance import environment
from gpu_timing_assets.core.tables.schemas import BURST_BATCHES, BURST_REQUESTS, BURST_STEPS
from gpu_timing_assets.engine_loop.fit.durations import step_durations
from gpu_timing_assets.engine_loop.fit.fit_time import MIN_ROWS
from gpu_timing_assets.engine_loop.fit.rows import fit_rows
from gpu_timing_assets.engines.base import Engine
from gpu_timing_assets.engines.child_process import engine_process_main
from gpu_timing_assets.engines.device import exclusive_device
from gpu_timing_assets.engines.replay import ReplayResult, replay
from gpu_timing_assets.engines.start import start_engine
from gpu_timing_assets.engines.vllm.recording import describe_steps, read_recording
from gpu_timing_assets.engines.warmup import warm_up
from gpu_timing_assets.measure.profiling.burst_plan import (
    Burst,
    decode_bursts,
    idle_burst,
    injection_bursts,
    prefill_bursts,
    storm_bursts,
)
from gpu_timing_assets.measure.profiling.parts import BURSTS_DIR, SESSION_FILE

BURST_SEED = 20_000
# how often a kind of burst is played again that did not give what its fits need
MAX_EXTENSIONS = 2


@dataclasses.dataclass(frozen=True)
class _Played:
    """A burst, the first part of its requests' ids, and what the client saw."""

    burst: Burst
    tag: str
    result: ReplayResult


def work(request: dict[str, Any], scratch: Path, report: Callable[[str], None]) -> None:
    config = validate(request["config"], "the request")
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
        begin = time.monotonic()
        recorder = BurstRecorder(engine, config, report)
        asyncio.run(_play_all(recorder, config))
        recorder.write_tables(scratch / BURSTS_DIR)
        bursts_s = time.monotonic() - begin
        report(f"{len(recorder.played)} bursts in {bursts_s:.0f} s")
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


async def _play_all(recorder: "BurstRecorder", config: ExperimentConfig) -> None:
    """Round by round, so that a host that is slow for a while is slow for all kinds."""
    grid, params = config.profiling, recorder.engine.params
    await warm_up(recorder.engine, config.backend)
    # the first pass of a shape compiles, captures or allocates something: it is played twice, and
    # the first is dropped
    for burst in [*decode_bursts(grid, params)][:2]:
        await recorder.play(burst)
    await recorder.play(idle_burst(grid, params, BURST_SEED - 1))
    recorder.played.clear()
    for repeat in range(grid.burst_repeats):
        await _play_round(recorder, grid, repeat)
    await recorder.engine.flush_recording()


async def _play_round(recorder: "BurstRecorder", grid: ProfilingPreset, repeat: int) -> None:
    """A round's share of each kind of burst; what a kind yielded is checked as soon as it was
    played.
    """
    params, rounds = recorder.engine.params, grid.burst_repeats
    needed = math.ceil(MIN_ROWS * (repeat + 1) / rounds)
    await recorder.play_kind(
        needed, lambda again: [*decode_bursts(grid, params)][(repeat + again) % rounds :: rounds]
    )
    await recorder.play_kind(
        needed, lambda again: [idle_burst(grid, params, BURST_SEED + repeat + 1000 * again)]
    )
    step_ms, prefill_ms = recorder.decode_step_ms(), recorder.prefill_ms()
    await recorder.play_kind(
        needed,
        lambda again: [*injection_bursts(grid, params, step_ms, BURST_SEED, repeat + 1000 * again)],
    )
    storms = [*storm_bursts(grid, params, step_ms, prefill_ms, BURST_SEED)][repeat::rounds]
    for burst in (*prefill_bursts(grid, params, prefill_ms), *storms):
        await recorder.play(burst)


class BurstRecorder:
    """Plays bursts on an engine and keeps what the client saw; with the engine's recording that
    makes the bundle's tables.
    """

    def __init__(
        self, engine: Engine, config: ExperimentConfig, report: Callable[[str], None]
    ) -> None:
        """Raises `ProfilingBundleError` for an engine that does not record its steps."""
        if engine.recording is None:
            raise ProfilingBundleError(
                "profiling needs the engine's steps recorded: set backend.record_steps=true"
            )
        self.engine, self.played = engine, list[_Played]()
        self._recording, self._report = engine.recording, report
        self._request_timeout_s = config.backend.request_timeout_s
        self._numbers, self._last_report = itertools.count(), time.monotonic()

    async def play(self, burst: Burst) -> None:
        tag = f"b{next(self._numbers)}"
        requests = [
            dataclasses.replace(request, name=f"{tag}.{request.name}") for request in burst.requests
        ]
        result = await replay(self.engine, requests, request_timeout_s=self._request_timeout_s)
        if result.errors:
            kind, message = next(iter(result.errors.values()))
            raise EngineError(f"a request of a {burst.kind} burst failed with {kind}: {message}")
        self.played.append(_Played(burst, tag, result))
        if time.monotonic() - self._last_report > 5:
            self._last_report = time.monotonic()
            self._report(f"{len(self.played)} bursts played, the last of kind {burst.kind}")

    async def play_kind(self, needed_rows: int, plan: Callable[[int], Sequence[Burst]]) -> None:
        """Play `plan(0)`, and `plan(1)`, `plan(2)` as long as a fit that rests on this kind has
        fewer than `needed_rows`.

        Raises `ProfilingBundleError` naming what is missing if it does not come.
        """
        missing: list[str] = []
        for again in range(1 + MAX_EXTENSIONS):
            bursts = plan(again)
            for burst in bursts:
                await self.play(burst)
            if not bursts:
                return
            await self.engine.flush_recording()
            if not (missing := self._missing_rows(bursts[0].kind, needed_rows)):
                return
            self._report(f"bursts of kind {bursts[0].kind} are played again: {'; '.join(missing)}")
        raise ProfilingBundleError(
            f"bursts of kind {bursts[0].kind} do not give what a fit needs, played "
            f"{1 + MAX_EXTENSIONS} times: "
            f"{'; '.join(missing)}: profile on a machine that is not busy (`python -m "
            f"gpu_timing_assets doctor`) or with a "
            "larger burst grid"
        )

    def decode_step_ms(self) -> dict[int, float]:
        """Batch size → median time of a decode step at the client, of the last burst of that
        size.
        """
        return {
            len(one.burst.requests): float(
                np.median(np.diff(one.result.token_ns[one.result.token_request == 0]))
            )
            / 1e6
            for one in self.played
            if one.burst.kind == "decode"
        }

    def prefill_ms(self) -> dict[int, float]:
        """Prompt tokens → median TTFT on an idle engine."""
        ttft_ms: dict[int, list[float]] = {}
        for one in self.played:
            for index, request in enumerate(one.burst.requests if one.burst.kind == "idle" else ()):
                first_ns = one.result.token_ns[one.result.token_request == index][0]
                ttft_ms.setdefault(len(request.prompt_token_ids), []).append(
                    (first_ns - one.result.arrival_ns[index]) / 1e6
                )
        return {length: float(np.median(times)) for length, times in ttft_ms.items()}

    def write_tables(self, out: Path) -> None:
        steps, requests, batches = self._tables(self.played)
        storms = [number for number, one in enumerate(self.played) if one.burst.kind == "storm"]
        out.mkdir(parents=True, exist_ok=True)
        BURST_STEPS.write(steps, out)
        BURST_REQUESTS.write(requests, out)
        BURST_BATCHES.write(batches[batches["burst"].isin(storms)], out)

    def _missing_rows(self, kind: str, needed: int) -> list[str]:
        steps, requests, _ = self._tables([one for one in self.played if one.burst.kind == kind])
        found = fit_rows(step_durations(steps, self.engine.params), requests).values()
        return [
            f"{len(one.rows)} {one.what}, {needed} are needed"
            for one in found
            if one.kind == kind and len(one.rows) < needed
        ]

    def _tables(self, played: Sequence[_Played]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """`burst_steps`, `burst_requests` and the batches of these bursts, from what the recording
        holds by now.
        """
        all_steps, all_batches = read_recording(self._recording)
        named = all_batches["request"].str.split(".", n=1, expand=True)
        all_steps = all_steps.dropna().astype("int64")
        origin_ns = played[0].result.start_ns
        steps_of, requests_of, batches_of = [], [], []
        for number, one in enumerate(played):
            mine = (named[0] == one.tag).to_numpy()
            batches = (
                all_batches[mine]
                .assign(request_id=named[1][mine].astype("int64"))
                .drop(columns="request")
            )
            steps, requests = _tables_of_burst(one, batches, all_steps, self.engine, origin_ns)
            steps_of.append(steps.assign(burst=number, kind=one.burst.kind))
            requests_of.append(requests.assign(burst=number, kind=one.burst.kind))
            batches_of.append(batches.assign(burst=number))
        return pd.concat(steps_of), pd.concat(requests_of), pd.concat(batches_of)


def _tables_of_burst(
    one: _Played, batches: pd.DataFrame, all_steps: pd.DataFrame, engine: Engine, origin_ns: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    planned, result = one.burst.requests, one.result
    prompt_tokens = pd.Series([len(request.prompt_token_ids) for request in planned])
    output_tokens = pd.Series([request.num_tokens for request in planned])
    steps = describe_steps(
        all_steps,
        batches,
        prompt_tokens,
        engine.params.graph_mode,
        engine.params.graph_capture_sizes,
    )
    chunk, computed = batches["num_scheduled_tokens"], batches["num_computed_tokens"]
    prompt = prompt_tokens.reindex(batches["request_id"]).to_numpy()
    # a step that completes the prompt, or any decode step, yields the request's next token
    yields = (computed + chunk).to_numpy() >= prompt
    token_index = np.where(yields, (computed + chunk).to_numpy() - prompt, -1)
    client = pd.DataFrame(
        {"request_id": result.token_request, "client_ns": result.token_ns + result.start_ns}
    )
    client["token_index"] = client.groupby("request_id").cumcount()
    made = batches.assign(
        token_index=token_index,
        pairs=np.where(computed < prompt, chunk * computed + chunk * (chunk + 1) // 2, 0),
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
    arrival = result.arrival_ns + result.start_ns
    in_flight = [
        int(((arrival < at) & (last_token.reindex(range(len(planned))) > at)).sum())
        for at in arrival
    ]
    requests = pd.DataFrame(
        {
            "request_id": range(len(planned)),
            "arrival_ns": arrival,
            "submit_ns": result.submit_ns + result.start_ns,
            "first_schedule_begin_ns": by_number["schedule_begin_ns"]
            .reindex(first_step.sort_index().to_numpy())
            .to_numpy(),
            "first_update_end_ns": by_number["update_end_ns"]
            .reindex(answer_step.sort_index().to_numpy())
            .to_numpy(),
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

"""Plays bursts on an engine until the fits have what they need of each kind."""

import dataclasses
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.errors import EngineError, ProfilingBundleError
from gpu_timing_assets.core.host_probe import HostProbe
from gpu_timing_assets.core.tables.schemas import (
    BURST_BATCHES,
    BURST_REQUESTS,
    BURST_STEPS,
    BURST_TOKENS,
)
from gpu_timing_assets.engine_loop.fit.durations import step_durations
from gpu_timing_assets.engine_loop.fit.rows import HELD_OUT, fit_rows
from gpu_timing_assets.engines.base import Engine, Report
from gpu_timing_assets.engines.host_probe import probe_host
from gpu_timing_assets.engines.replay import replay
from gpu_timing_assets.measure.profiling.burst_plan import Burst, held_out
from gpu_timing_assets.measure.profiling.burst_tables import BurstTables, PlayedBurst, burst_tables

# how often a kind of burst is played again that did not give what its fits need
MAX_EXTENSIONS = 2
REPORT_INTERVAL_S = 5


class BurstRecorder:
    """Plays bursts on an engine, and makes tables of what the client saw and it recorded."""

    def __init__(self, engine: Engine, config: ExperimentConfig, report: Report) -> None:
        """Raises `ProfilingBundleError` for an engine that does not record its steps."""
        if engine.recording is None:
            fault = "profiling needs the engine's steps recorded: set backend.record_steps=true"
            raise ProfilingBundleError(fault)
        self.engine = engine
        self.played, self.probes = list[PlayedBurst](), list[HostProbe]()
        self._recording, self._report = engine.recording, report
        self._backend = config.backend
        self._numbers, self._reported = itertools.count(), time.monotonic()

    async def play(self, burst: Burst) -> None:
        tag = f"b{next(self._numbers)}"
        requests = [dataclasses.replace(one, name=f"{tag}.{one.name}") for one in burst.requests]
        timeout_s = self._backend.request_timeout_s
        result = await replay(self.engine, requests, request_timeout_s=timeout_s)
        if result.errors:
            kind, message = next(iter(result.errors.values()))
            raise EngineError(f"a request of a {burst.kind} burst failed with {kind}: {message}")
        self.played.append(PlayedBurst(burst, tag, result))
        if time.monotonic() - self._reported > REPORT_INTERVAL_S:
            self._reported = time.monotonic()
            self._report(f"{len(self.played)} bursts played, the last of kind {burst.kind}")

    async def probe_host(self) -> None:
        """Play the probe of the host's speed, whose steps are no burst."""
        if not self._backend.probe_host:
            return
        tag = f"probe{len(self.probes)}"
        found = await probe_host(self.engine, tag, self._backend, observe_on=True)
        if found is not None:
            self.probes.append(found)

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
            f"{1 + MAX_EXTENSIONS} times: {'; '.join(missing)}: profile on a machine that is not "
            "busy (`python -m gpu_timing_assets doctor`) or with a larger burst grid"
        )

    def decode_step_ms(self) -> dict[int, float]:
        """Batch size → median time of a decode step at the client, in its last burst."""
        return {
            len(one.burst.requests): float(np.median(np.diff(one.token_times_ns(0)))) / 1e6
            for one in self._of_kind("decode")
        }

    def prefill_ms(self) -> dict[int, float]:
        """Prompt tokens → median TTFT on an idle engine."""
        ttft_ms: dict[int, list[float]] = {}
        for one in self._of_kind("idle"):
            for index, request in enumerate(one.burst.requests):
                ttft_ns = one.token_times_ns(index)[0] - one.result.arrival_ns[index]
                ttft_ms.setdefault(len(request.prompt_token_ids), []).append(ttft_ns / 1e6)
        return {length: float(np.median(times)) for length, times in ttft_ms.items()}

    def write_tables(self, out: Path, seed: int) -> None:
        """The bursts' tables; `seed` chooses those that no fit may see (kind `HELD_OUT`)."""
        unseen = sorted(held_out([one.burst.kind for one in self.played], seed))
        storms = [number for number, one in enumerate(self.played) if one.burst.kind == "storm"]
        tables = self._tables(self.played)
        steps, requests = (
            frame.assign(kind=frame["kind"].mask(frame["burst"].isin(unseen), HELD_OUT))
            for frame in (tables.steps, tables.requests)
        )
        out.mkdir(parents=True, exist_ok=True)
        BURST_STEPS.write(steps, out)
        BURST_REQUESTS.write(requests, out)
        BURST_BATCHES.write(tables.batches[tables.batches["burst"].isin(storms)], out)
        BURST_TOKENS.write(tables.tokens[tables.tokens["burst"].isin(unseen)], out)

    def _missing_rows(self, kind: str, needed: int) -> list[str]:
        tables = self._tables(self._of_kind(kind))
        durations = step_durations(tables.steps, self.engine.params)
        return [
            f"{len(one.rows)} {one.what}, {needed} are needed"
            for one in fit_rows(durations, tables.requests).values()
            if one.kind == kind and len(one.rows) < needed
        ]

    def _of_kind(self, kind: str) -> list[PlayedBurst]:
        return [one for one in self.played if one.burst.kind == kind]

    def _tables(self, played: Sequence[PlayedBurst]) -> BurstTables:
        return burst_tables(played, self._recording.read(), self.engine.params)

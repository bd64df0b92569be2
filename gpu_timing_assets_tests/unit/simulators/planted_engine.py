"""An engine whose every part takes a known time, and what it records: what a fit must find.

Its scheduler is the project's; its clock is written down here once more, by the picture in
`engine_loop.loop_timing`, and by nothing of the code that is tested.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.engine_loop.cuda_graphs import graph_modes, padded_tokens
from gpu_timing_assets.engine_loop.fit.rows import HELD_OUT
from gpu_timing_assets.engine_loop.kernels import KernelTimes
from gpu_timing_assets.engine_loop.serve import serve
from gpu_timing_assets.engine_loop.step import Step

MS = 1_000_000
PACE_MS = 400.0


@dataclass(frozen=True)
class Loop:
    """The parts of the engine's loop in ms at a pace of 1: `fixed + slope · requests`.

    `paces`: the host's, in turn for `PACE_MS` each. Factors on a step's kernels: `full_scale` of
    full graphs, `full_attention` of the attention in them, `mixed_scale` of mixed steps,
    `throttle_per_s` more by the seconds of mixed kernels right before.
    """

    schedule: tuple[float, float] = (0.05, 0.002)
    dispatch: tuple[float, float] = (0.02, 0.001)
    execute: tuple[tuple[str, float], ...] = (("full", 0.3), ("piecewise", 2.9), ("eager", 5.9))
    execute_per_request: float = 0.004
    sample: tuple[float, float] = (0.1, 0.002)
    result: tuple[float, float] = (0.02, 0.001)
    update: tuple[float, float] = (0.04, 0.003)
    gap: tuple[float, float] = (0.03, 0.001)
    paces: tuple[float, ...] = (1.0,)
    full_scale: float = 1.0
    full_attention: float = 1.0
    mixed_scale: float = 1.0
    throttle_per_s: float = 0.0
    mixed_start_share: float = 0.3
    front_end: float = 0.1
    front_end_queued: float = 0.04
    client_in: tuple[float, float] = (0.2, 0.002)
    client_out: tuple[float, float] = (0.1, 0.005)
    client_spread: float = 0.01

    def execute_ms(self, mode: str, num_requests: int) -> float:
        return dict(self.execute)[mode] + self.execute_per_request * num_requests


LOOP = Loop()


class PlantedTiming:
    """A `StepTiming`; `rows`: what the engine records of each step, in ms of its clock."""

    def __init__(
        self, params: EngineParams, kernels: KernelTimes, loop: Loop, rng: np.random.Generator
    ) -> None:
        self.asynchronous = params.async_scheduling
        self._params, self._kernels, self._loop, self._rng = params, kernels, loop, rng
        self._apart = params.tensor_parallel_size > 1
        self._gpu_free = self._worker_free = self._mixed_row_ms = 0.0
        self.rows: dict[int, dict[str, Any]] = {}

    def duration_s(self, step: Step) -> float:
        begin, loop = step.schedule_begin_s * 1e3, self._loop
        pace = loop.paces[int(begin / PACE_MS) % len(loop.paces)]
        scheduled = begin + pace * self._drawn(loop.schedule, step.num_requests)
        ready = self._run(step, begin, scheduled, pace) if step.sequences else scheduled
        processed = step.previous if self.asynchronous else step
        if processed is not None:
            ready = self._process(processed, ready, pace)
        end = ready + pace * self._drawn(loop.gap, step.num_requests)
        return (end - begin) / 1e3

    def _run(self, step: Step, begin: float, scheduled: float, pace: float) -> float:
        """Returns when the loop can take up a result."""
        loop, requests = self._loop, step.num_requests
        kernel_ms, attention_ms = self._kernel_ms(step)
        free = self._worker_free if self._apart else 0.0
        began = max(scheduled, free) + pace * self._drawn(loop.dispatch, requests)
        if self.asynchronous:
            execute_ms = pace * self._jitter(loop.execute_ms(step.graph_mode, requests))
        else:
            computed = 0.5 + 1.2 * kernel_ms + loop.execute_per_request * requests
            execute_ms = pace * self._jitter(computed)
        executed = began + execute_ms
        sampled = self._worker_free = executed + pace * self._drawn(loop.sample, requests)
        if not self.asynchronous:
            done = sampled
        elif step.graph_mode == "full":
            own_ms = kernel_ms + (loop.full_attention - 1) * attention_ms
            done = max(self._gpu_free, executed) + self._jitter(loop.full_scale * own_ms, 0.005)
            self._mixed_row_ms = 0.0
        else:
            if self._gpu_free < began:
                self._mixed_row_ms = 0.0
            start = max(self._gpu_free, began + loop.mixed_start_share * execute_ms)
            scale = loop.mixed_scale + loop.throttle_per_s * self._mixed_row_ms / 1e3
            done = max(sampled, start + self._jitter(scale * kernel_ms, 0.005))
            self._mixed_row_ms += kernel_ms
        self._gpu_free = done
        step.schedule_end_s, step.gpu_end_s = scheduled / 1e3, done / 1e3
        self.rows[id(step)] = {
            "schedule_begin": begin,
            "schedule_end": scheduled,
            "execute_begin": began,
            "execute_end": executed,
            "sample_begin": executed,
            "sample_end": sampled,
            "gpu_begin": began,
            "gpu_end": done,
        }
        return scheduled if self._apart else sampled

    def _process(self, step: Step, ready: float, pace: float) -> float:
        row, loop = self.rows[id(step)], self._loop
        there = max(ready, row["gpu_end"])
        row["update_begin"] = there + pace * self._drawn(loop.result, step.num_requests)
        updated = row["update_begin"] + pace * self._drawn(loop.update, step.num_requests)
        row["update_end"] = updated
        step.result_s = updated / 1e3
        return float(updated)

    def _kernel_ms(self, step: Step) -> tuple[float, float]:
        prefill, decode = np.array([[step.num_prefill_tokens], [step.num_decode_requests]])
        sizes = self._params.graph_capture_sizes
        mode = str(graph_modes(prefill, decode, self._params.graph_mode, sizes)[0])
        step.graph_mode = mode
        step.padded_tokens = padded_tokens(step.num_tokens, sizes, mode)
        attention = step.num_decode_requests, step.decode_kv_tokens
        return self._kernels.step_ms(step), self._kernels.decode_attention_ms(*attention)

    def _drawn(self, part: tuple[float, float], requests: int) -> float:
        return self._jitter(part[0] + part[1] * requests)

    def _jitter(self, ms: float, spread: float = 0.03) -> float:
        return ms * float(self._rng.uniform(1 - spread, 1 + spread))


@dataclass(frozen=True)
class BurstFrames:
    """`burst_steps`, `burst_requests`, `burst_batches` and `burst_tokens`."""

    steps: pd.DataFrame
    requests: pd.DataFrame
    batches: pd.DataFrame
    tokens: pd.DataFrame


# (prompt tokens, output tokens, arrival in ms)
Requests = list[tuple[int, int, float]]


def planned_bursts() -> Iterator[tuple[str, Requests]]:
    """Kind and requests of each burst; of injections and storms the last is held out."""
    for context in (16, 32, 48):
        for batch in (1, 2, 4, 8):
            yield "decode", [(context, 24, 0.0)] * batch
    lengths = (8, 16, 24, 32, 48, 60)
    for repeat in range(4):
        yield "idle", [(n, 3, 150.0 * (at + 1) + 7 * repeat) for at, n in enumerate(lengths)]
    for background, kind in ((2, "inject"), (4, "inject"), (6, "inject"), (4, HELD_OUT)):
        injected = [(n, 3, 30.0 + 25.0 * at) for at, n in enumerate(lengths * 2)]
        yield kind, [(8, 150, 0.0)] * background + injected
    for seed, kind in ((7, "storm"), (8, "storm"), (9, HELD_OUT)):
        rng = np.random.default_rng(seed)
        arrivals = np.cumsum(rng.exponential(15.0, 40))
        drawn = zip(rng.integers(8, 56, 40), rng.integers(4, 40, 40), arrivals, strict=True)
        yield kind, [(int(prompt), int(outputs), float(at)) for prompt, outputs, at in drawn]


def record_bursts(
    params: EngineParams,
    kernels: KernelTimes,
    loop: Loop = LOOP,
    *,
    held_out_scale: float = 1.0,
) -> BurstFrames:
    """What the engine records of `planned_bursts`; in the held-out ones its GPU takes
    `held_out_scale` times as long.
    """
    slower = replace(
        loop,
        full_scale=loop.full_scale * held_out_scale,
        mixed_scale=loop.mixed_scale * held_out_scale,
    )
    rng, origin_ms, first_step = np.random.default_rng(5), 0.0, 0
    frames: list[tuple[pd.DataFrame, ...]] = []
    for burst, (kind, requests) in enumerate(planned_bursts()):
        played = slower if kind == HELD_OUT else loop
        tables = _play(requests, params, kernels, played, rng)
        for table in tables:
            for name in table.columns:
                if name.endswith("_ms"):
                    table[name.removesuffix("_ms") + "_ns"] = _ns(table.pop(name) + origin_ms)
            if "step" in table:
                table["step"] += first_step
        frames.append(tuple(table.assign(burst=burst, kind=kind) for table in tables))
        origin_ms = float(tables[0]["update_end_ns"].max()) / MS + 50
        # the loop's empty turns count as steps too
        first_step = int(tables[0]["step"].max()) + 5
    steps, asked, batches, tokens = (
        pd.concat(table, ignore_index=True) for table in zip(*frames, strict=True)
    )
    return BurstFrames(
        steps, asked, batches[batches["kind"] == "storm"], tokens[tokens["kind"] == HELD_OUT]
    )


def _ns(ms: pd.Series) -> pd.Series:
    return (ms * MS).round().astype("Int64")


def _play(
    requests: Requests,
    params: EngineParams,
    kernels: KernelTimes,
    loop: Loop,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    prompts, outputs, arrival_ms = (np.array(column) for column in zip(*requests, strict=True))
    through, front_end = np.empty(len(requests)), np.empty(len(requests))
    free = 0.0
    for index in np.argsort(arrival_ms, kind="stable"):
        waited = arrival_ms[index] < free
        front_end[index] = loop.front_end_queued if waited else loop.front_end
        free = through[index] = max(free, arrival_ms[index]) + front_end[index]
    visible_ms = through + loop.client_in[0] + loop.client_in[1] * prompts
    lengths = pd.DataFrame({"num_prefill_tokens": prompts, "num_decode_tokens": outputs})
    timing = PlantedTiming(params, kernels, loop, rng)
    served = serve(lengths, visible_ms / 1e3, params, timing).steps
    rows, batches, tokens = [], [], []
    for number, step in enumerate(served):
        row = timing.rows[id(step)]
        out_ms = loop.client_out[0] + loop.client_out[1] * len(step.produced)
        seen = [
            row["update_end"] + out_ms + loop.client_spread * position
            for position in range(len(step.produced))
        ]
        rows.append(
            {
                "step": number,
                **{f"{name}_ms": at for name, at in row.items()},
                "num_prefill_tokens": step.num_prefill_tokens,
                "num_prefill_requests": step.num_prefill_requests,
                "num_decode_requests": step.num_decode_requests,
                "kv_tokens": step.kv_tokens,
                "prefill_attention_pairs": step.prefill_attention_pairs,
                "graph_mode": step.graph_mode,
                "num_outputs": len(step.produced),
                "client_first_ms": seen[0] if seen else None,
                "client_last_ms": seen[-1] if seen else None,
            }
        )
        tokens += [
            {"request_id": request, "client_ms": at}
            for request, at in zip(step.produced, seen, strict=True)
        ]
        counts = zip(step.num_scheduled_tokens, step.num_computed_tokens, strict=True)
        batches += [
            {
                "step": number,
                "request_id": sequence.request_id,
                "num_scheduled_tokens": scheduled,
                "num_computed_tokens": computed,
            }
            for sequence, (scheduled, computed) in zip(step.sequences, counts, strict=True)
        ]
    steps, who, made = pd.DataFrame(rows), pd.DataFrame(batches), pd.DataFrame(tokens)
    made["token_index"] = made.groupby("request_id").cumcount()
    first_step = steps.set_index("step").loc[who.groupby("request_id")["step"].min().to_numpy()]
    first_token = made[made["token_index"] == 0].sort_values("request_id")["client_ms"].to_numpy()
    last_token = made.groupby("request_id")["client_ms"].max().to_numpy()
    asked = pd.DataFrame(
        {
            "request_id": range(len(requests)),
            "arrival_ms": arrival_ms,
            "submit_ms": arrival_ms + 0.01,
            "front_end_ns": (front_end * MS).round().astype(int),
            "first_schedule_begin_ms": first_step["schedule_begin_ms"].to_numpy(),
            "first_update_end_ms": first_step["update_end_ms"].to_numpy(),
            "first_token_ms": first_token,
            "num_prefill_tokens": prompts,
            "num_decode_tokens": outputs,
            "num_in_flight": [
                int(((arrival_ms < at) & (last_token > at)).sum()) for at in arrival_ms
            ],
        }
    )
    return steps, asked, who, made

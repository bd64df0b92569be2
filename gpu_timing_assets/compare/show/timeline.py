"""The real engine and the simulated one as two processes on one clock, in the Chrome trace format
(opens in Perfetto).

Times are microseconds since the run's start, as that format has it. Each process has the engine's
steps on two alternating tracks (the next step is scheduled before the one before is done), how many
requests a step held as a counter, and every request as an asynchronous slice from arrival to first
to last token.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gpu_timing_assets.compare.gate.align import AlignedRun

Event = dict[str, Any]
# A step names its requests only up to this many rows of a run, so that the file of a long run still
# opens.
MAX_BATCH_ROWS = 200_000


def write_timeline(path: Path, processes: list[AlignedRun]) -> None:
    """Write the runs as processes 1, 2, …, in the order given."""
    with path.open("w", encoding="utf-8") as file:
        file.write('{"displayTimeUnit":"ms","traceEvents":[\n')
        first = True
        for number, run in enumerate(processes, start=1):
            for event in _events(run, number):
                file.write(("" if first else ",\n") + json.dumps(event, separators=(",", ":")))
                first = False
        file.write("\n]}\n")


def _events(run: AlignedRun, process: int) -> Iterator[Event]:
    name = f"{run.run.side}: {run.label}"
    yield _about(process, 0, "process_name", name=name)
    yield _about(process, 0, "process_sort_index", sort_index=process)
    for track in (1, 2):
        yield _about(process, track, "thread_name", name=f"steps {track}")
    if run.run.steps is not None:
        batches = _batch_texts(run.run.batches)
        for number, step in enumerate(run.run.steps.itertuples(index=False)):
            yield from _step(step, number, process, batches.get(step.step))
    yield from _requests(run, process)


def _about(process: int, track: int, what: str, **arguments: Any) -> Event:
    return {"ph": "M", "pid": process, "tid": track, "name": what, "args": arguments}


def _step(step: Any, number: int, process: int, batch: str | None) -> Iterator[Event]:
    """`step`: a row of `engine_steps`, the run's `number`th."""
    begin, scheduled = step.schedule_begin_ns, step.schedule_end_ns
    end = scheduled if pd.isna(step.result_ns) else step.result_ns
    prefills, decodes = step.num_prefill_requests, step.num_decode_requests
    arguments: Event = {
        "step": step.step,
        "prefill tokens": step.num_prefill_tokens,
        "prefill requests": prefills,
        "decode requests": decodes,
        "kv tokens": step.kv_tokens,
    }
    if isinstance(step.graph_mode, str):
        arguments["graph"] = step.graph_mode
    if batch is not None:
        arguments["batch"] = batch
    name, when = "prefill step" if prefills else "decode step", begin / 1000
    common = {"pid": process, "tid": 1 + number % 2, "cat": "step", "ts": when}
    took, to_schedule = max(end - begin, 0) / 1000, max(scheduled - begin, 0) / 1000
    yield {"ph": "X", "name": name, **common, "dur": took, "args": arguments}
    yield {"ph": "X", "name": "schedule", **common, "dur": to_schedule}
    held = {"prefill": prefills, "decode": decodes}
    yield {"ph": "C", "pid": process, "name": "requests in the batch", "ts": when, "args": held}


def _batch_texts(batches: pd.DataFrame | None) -> dict[int, str]:
    """`request:tokens` of every step, by step; nothing beyond `MAX_BATCH_ROWS` rows."""
    if batches is None or len(batches) > MAX_BATCH_ROWS:
        return {}
    ordered = batches.sort_values(["step", "request_id"], kind="stable")
    entry = ordered["request_id"].astype(str) + ":" + ordered["num_scheduled_tokens"].astype(str)
    texts, (steps, begins) = entry.tolist(), np.unique(ordered["step"], return_index=True)
    ends = [*begins[1:], len(texts)]
    return {
        int(step): " ".join(texts[begin:end])
        for step, begin, end in zip(steps, begins, ends, strict=True)
    }


def _requests(run: AlignedRun, process: int) -> Iterator[Event]:
    grid = run.grid
    columns = (grid.request_id, grid.arrival_ns, run.first_ns, run.last_ns)
    for request, arrival, first, last, prompt, tokens in zip(
        *(column.tolist() for column in (*columns, grid.prefill_tokens, grid.tokens)), strict=True
    ):
        common = {"pid": process, "tid": 0, "cat": "request", "id": f"{process}.{request}"}
        ttft_ms = (first - arrival) / 1e6
        about = {"prompt tokens": prompt, "output tokens": tokens, "TTFT ms": ttft_ms}
        whole = f"request {request}"
        yield {"ph": "b", "name": whole, "ts": arrival / 1000, **common, "args": about}
        yield {"ph": "b", "name": "to first token", "ts": arrival / 1000, **common}
        yield {"ph": "e", "name": "to first token", "ts": first / 1000, **common}
        yield {"ph": "b", "name": "decode", "ts": first / 1000, **common}
        yield {"ph": "e", "name": "decode", "ts": last / 1000, **common}
        yield {"ph": "e", "name": whole, "ts": last / 1000, **common}

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
    yield {
        "ph": "M",
        "pid": process,
        "tid": 0,
        "name": "process_name",
        "args": {"name": f"{run.run.side}: {run.label}"},
    }
    yield {
        "ph": "M",
        "pid": process,
        "tid": 0,
        "name": "process_sort_index",
        "args": {"sort_index": process},
    }
    for track in (1, 2):
        yield {
            "ph": "M",
            "pid": process,
            "tid": track,
            "name": "thread_name",
            "args": {"name": f"steps {track}"},
        }
    yield from _steps(run, process)
    yield from _requests(run, process)


def _steps(run: AlignedRun, process: int) -> Iterator[Event]:
    steps = run.run.steps
    if steps is None:
        return
    batches = _batch_texts(run.run.batches)
    columns = [
        steps[name].tolist()
        for name in (
            "step",
            "schedule_begin_ns",
            "schedule_end_ns",
            "result_ns",
            "num_prefill_tokens",
            "num_prefill_requests",
            "num_decode_requests",
            "kv_tokens",
            "graph_mode",
        )
    ]
    for number, (step, begin, scheduled, result, tokens, prefills, decodes, kv, graph) in enumerate(
        zip(*columns, strict=True)
    ):
        end = scheduled if pd.isna(result) else result
        arguments: Event = {
            "step": step,
            "prefill tokens": tokens,
            "prefill requests": prefills,
            "decode requests": decodes,
            "kv tokens": kv,
        }
        if isinstance(graph, str):
            arguments["graph"] = graph
        if step in batches:
            arguments["batch"] = batches[step]
        common = {"pid": process, "tid": 1 + number % 2, "cat": "step", "ts": begin / 1000}
        yield {
            "ph": "X",
            "name": "prefill step" if prefills else "decode step",
            **common,
            "dur": max(end - begin, 0) / 1000,
            "args": arguments,
        }
        yield {"ph": "X", "name": "schedule", **common, "dur": max(scheduled - begin, 0) / 1000}
        yield {
            "ph": "C",
            "pid": process,
            "name": "requests in the batch",
            "ts": begin / 1000,
            "args": {"prefill": prefills, "decode": decodes},
        }


def _batch_texts(batches: pd.DataFrame | None) -> dict[int, str]:
    """`request:tokens` of every step, by step; nothing for a run with more than `MAX_BATCH_ROWS` of
    them.
    """
    if batches is None or len(batches) > MAX_BATCH_ROWS:
        return {}
    ordered = batches.sort_values(["step", "request_id"], kind="stable")
    entry = ordered["request_id"].astype(str) + ":" + ordered["num_scheduled_tokens"].astype(str)
    step = ordered["step"].to_numpy()
    starts = (
        np.flatnonzero(np.r_[True, step[1:] != step[:-1]]) if len(step) else np.zeros(0, dtype=int)
    )
    ends = np.r_[starts[1:], len(step)]
    texts = entry.tolist()
    return {
        int(step[begin]): " ".join(texts[begin:end])
        for begin, end in zip(starts, ends, strict=True)
    }


def _requests(run: AlignedRun, process: int) -> Iterator[Event]:
    grid = run.grid
    columns = (
        grid.request_id,
        grid.arrival_ns,
        run.first_ns,
        run.last_ns,
        grid.prefill_tokens,
        grid.tokens,
    )
    for request, arrival, first, last, prompt, tokens in zip(
        *(column.tolist() for column in columns), strict=True
    ):
        common = {"pid": process, "tid": 0, "cat": "request", "id": f"{process}.{request}"}
        whole = f"request {request}"
        yield {
            "ph": "b",
            "name": whole,
            "ts": arrival / 1000,
            **common,
            "args": {
                "prompt tokens": prompt,
                "output tokens": tokens,
                "TTFT ms": (first - arrival) / 1e6,
            },
        }
        yield {"ph": "b", "name": "to first token", "ts": arrival / 1000, **common}
        yield {"ph": "e", "name": "to first token", "ts": first / 1000, **common}
        yield {"ph": "b", "name": "decode", "ts": first / 1000, **common}
        yield {"ph": "e", "name": "decode", "ts": last / 1000, **common}
        yield {"ph": "e", "name": whole, "ts": last / 1000, **common}

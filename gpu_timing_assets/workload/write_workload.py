"""A workload's files, written from its requests in memory."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gpu_timing_assets.core.files import CONFIG_FILE, file_sha256, write_json
from gpu_timing_assets.core.prompts import PROMPT_TOKEN_IDS_FILE, PROMPTS_FILE
from gpu_timing_assets.core.tables.schemas import CLOSED_LOOP, TRACE_INTERVALS, TRACE_LENGTHS
from gpu_timing_assets.core.workload import (
    WORKLOAD_META_FILE,
    ClosedLoopMeta,
    WorkloadMeta,
    workload_sha256,
)
from gpu_timing_assets.workload.identity import WorkloadIdentity
from gpu_timing_assets.workload.page import write_page
from gpu_timing_assets.workload.requests import ClosedLoop, Integers, Prompts, Requests
from gpu_timing_assets.workload.times import NS_PER_S

if TYPE_CHECKING:
    from gpu_timing_assets.config.experiment import ExperimentConfig

LINES_A_WRITE = 100_000


def write_workload(
    directory: Path, requests: Requests, identity: WorkloadIdentity, config: "ExperimentConfig"
) -> WorkloadMeta:
    """Write every file of the workload into an empty `directory`, the metadata last."""
    lengths_path = TRACE_LENGTHS.write(lengths_table(requests), directory)
    intervals_path = TRACE_INTERVALS.write(_intervals_table(requests.arrival_time_ns), directory)
    written = _write_prompts(requests.prompts, directory)
    closed_loop = None
    if requests.closed_loop is not None:
        closed_loop, path = _write_closed_loop(requests.closed_loop, directory)
        written.append(path)
    write_json(directory / CONFIG_FILE, config)
    count, duration_ns = len(requests.arrival_time_ns), int(requests.arrival_time_ns[-1])
    meta = WorkloadMeta(
        workload_id=identity.workload_id,
        workload_sha256=workload_sha256(
            lengths_path.read_bytes(), intervals_path.read_bytes(), identity.tokenizer.sha256
        ),
        num_requests=count,
        num_prefill_tokens=int(requests.num_prefill_tokens.sum()),
        num_decode_tokens=int(requests.num_decode_tokens.sum()),
        longest_request_tokens=int(
            (requests.num_prefill_tokens + requests.num_decode_tokens).max()
        ),
        duration_ns=duration_ns,
        mean_rate_per_s=count * NS_PER_S / duration_ns if duration_ns else None,
        seed=config.workload.seed,
        tokenizer=identity.tokenizer,
        source=requests.source,
        closed_loop=closed_loop,
        made_from=identity.made_from,
        files_sha256={path.name: file_sha256(path) for path in written},
        config_sha256=identity.sha256,
    )
    write_page(directory, meta, requests)
    write_json(directory / WORKLOAD_META_FILE, meta)
    return meta


def lengths_table(requests: Requests) -> pd.DataFrame:
    """The rows of `trace_lengths.csv`."""
    return pd.DataFrame(
        {
            "request_id": np.arange(len(requests.num_prefill_tokens)),
            "prompt_id": requests.prompts.prompt_ids,
            "num_prefill_tokens": requests.num_prefill_tokens,
            "num_decode_tokens": requests.num_decode_tokens,
        }
    )


def _intervals_table(arrival_time_ns: Integers) -> pd.DataFrame:
    frame = pd.DataFrame({"request_id": np.arange(len(arrival_time_ns))})
    frame["inter_arrival_ns"] = np.diff(arrival_time_ns, prepend=np.int64(0))
    frame["arrival_time_ns"] = arrival_time_ns
    return frame


def _write_closed_loop(loop: ClosedLoop, directory: Path) -> tuple[ClosedLoopMeta, Path]:
    count, think_ns = len(loop.user_id), loop.think_time_ns
    rows = {"request_id": np.arange(count), "user_id": loop.user_id, "think_time_ns": think_ns}
    path = CLOSED_LOOP.write(pd.DataFrame(rows), directory)
    users, mean_ns = int(loop.user_id.max()) + 1, int(think_ns.sum()) // count
    return ClosedLoopMeta(users=users, mean_think_time_ns=mean_ns), path


def _write_prompts(prompts: Prompts, directory: Path) -> list[Path]:
    written = [_write_lines(directory / PROMPTS_FILE, _prompt_lines(prompts))]
    if prompts.texts:
        lines = (
            json.dumps({"prompt_id": text.prompt_id, "token_ids": text.token_ids})
            for text in prompts.texts
        )
        written.append(_write_lines(directory / PROMPT_TOKEN_IDS_FILE, lines))
    return written


def _prompt_lines(prompts: Prompts) -> Iterator[str]:
    """The lines of `prompts.jsonl`: what `gpu_timing_assets.core.prompts` reads."""
    if prompts.texts:
        for prompt in prompts.texts:
            yield json.dumps(
                {"prompt_id": prompt.prompt_id, "text": prompt.text}, ensure_ascii=False
            )
        return
    assert prompts.token_seeds is not None
    seeds = prompts.token_seeds.tolist()
    if prompts.block_ids is None:
        for prompt_id, seed in zip(prompts.prompt_ids, seeds, strict=True):
            yield f'{{"prompt_id": "{prompt_id}", "text": null, "token_seed": {seed}}}'
        return
    for prompt_id, seed, blocks in zip(prompts.prompt_ids, seeds, prompts.block_ids, strict=True):
        yield (
            f'{{"prompt_id": "{prompt_id}", "text": null, "token_seed": {seed}, '
            f'"block_size_tokens": {prompts.block_size_tokens}, "block_ids": {blocks}}}'
        )


def _write_lines(path: Path, lines: Iterator[str]) -> Path:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        while chunk := "".join(
            f"{line}\n" for _, line in zip(range(LINES_A_WRITE), lines, strict=False)
        ):
            file.write(chunk)
    return path

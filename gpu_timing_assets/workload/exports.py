"""The same work for other tools: `vllm bench serve --dataset-name timed_trace` and plain Vidur.

`python -m gpu_timing_assets.workload.exports DIRECTORY [--timed-trace FILE] [--vidur-trace FILE]`
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from gpu_timing_assets.core.closed_loop import read_closed_loop
from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.core.prompts import PROMPTS_FILE
from gpu_timing_assets.core.tables.invariants import read_workload_tables
from gpu_timing_assets.core.workload import read_complete_workload
from gpu_timing_assets.workload.requests import Integers
from gpu_timing_assets.workload.times import NS_PER_S

# vLLM's default for `--timed-trace-chunk-hash-size`
CHUNK_TOKENS = 16
# the only day that Vidur's trace replay reads by default
VIDUR_DATE = "2023-08-21"


def export_timed_trace(workload_dir: Path, path: Path) -> None:
    """Write the workload as vLLM's timed trace, which its default settings read: JSONL with
    `timestamp` in seconds, `input_length`, `output_length` and `hash_ids`, one for every 16 tokens.

    vLLM makes the tokens itself, from the hash ids: lengths, times and shared prefixes are the
    workload's, the tokens are not. Raises `ArtifactError` for an unfinished or changed workload,
    `WorkloadError` for a closed loop.
    """
    lengths, arrivals = _planned(workload_dir)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for prefill, decode, time_ns, chunks in zip(
            lengths["num_prefill_tokens"].tolist(),
            lengths["num_decode_tokens"].tolist(),
            arrivals.tolist(),
            _chunk_ids(workload_dir, lengths),
            strict=True,
        ):
            row = {"timestamp": time_ns / NS_PER_S, "input_length": prefill}
            row |= {"output_length": decode, "hash_ids": chunks}
            file.write(json.dumps(row) + "\n")


def export_vidur_trace(workload_dir: Path, path: Path) -> None:
    """Write the workload as a CSV that both forms of Vidur's trace replay read, times in seconds.

    The published version reads `Date`, `Time`, `PromptTokenCount` and `CompletionTokenCount`, and
    scales by default: set its `prefill_scale_factor`, `decode_scale_factor` and `time_scale_factor`
    to 1 and `max_tokens` to the context. Its repository reads `arrived_at`, `num_prefill_tokens`
    and `num_decode_tokens`. Raises as `export_timed_trace`.
    """
    lengths, arrivals = _planned(workload_dir)
    seconds = arrivals / NS_PER_S
    pd.DataFrame(
        {
            "arrived_at": seconds,
            "num_prefill_tokens": lengths["num_prefill_tokens"],
            "num_decode_tokens": lengths["num_decode_tokens"],
            "Date": VIDUR_DATE,
            "Time": seconds,
            "PromptTokenCount": lengths["num_prefill_tokens"],
            "CompletionTokenCount": lengths["num_decode_tokens"],
        }
    ).to_csv(path, index=False, lineterminator="\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write a workload in the form of another tool.")
    parser.add_argument("directory", type=Path, help="a workload's directory")
    for option, tool in (
        ("--timed-trace", "`vllm bench serve` (JSONL)"),
        ("--vidur-trace", "Vidur's trace replay (CSV)"),
    ):
        parser.add_argument(option, type=Path, metavar="FILE", help=f"for {tool}")
    chosen = parser.parse_args(arguments)
    if chosen.timed_trace is None and chosen.vidur_trace is None:
        parser.error("name a file: --timed-trace FILE or --vidur-trace FILE")
    if chosen.timed_trace is not None:
        export_timed_trace(chosen.directory, chosen.timed_trace)
    if chosen.vidur_trace is not None:
        export_vidur_trace(chosen.directory, chosen.vidur_trace)


def _planned(workload_dir: Path) -> tuple[pd.DataFrame, Integers]:
    """`trace_lengths.csv` and the arrival times in ns."""
    read_complete_workload(workload_dir)
    if read_closed_loop(workload_dir) is not None:
        raise WorkloadError(
            f"{workload_dir} is a closed loop, whose arrivals only a real run knows: export another"
        )
    lengths, intervals = read_workload_tables(workload_dir)
    return lengths, intervals["arrival_time_ns"].to_numpy()


def _chunk_ids(workload_dir: Path, lengths: pd.DataFrame) -> Iterator[list[int]]:
    """Ids of each request's chunks: its own, but where block ids or the same prompt share them."""
    with (workload_dir / PROMPTS_FILE).open(encoding="utf-8") as file:
        prompts = {row["prompt_id"]: row for row in map(json.loads, file)}
    block_size_tokens = max(row.get("block_size_tokens", 0) for row in prompts.values())
    chunks_a_block = block_size_tokens // CHUNK_TOKENS
    largest_block = max(max(row.get("block_ids") or [0]) for row in prompts.values())
    next_id = (largest_block + 1) * max(chunks_a_block, 1)
    own: dict[str, int] = {}
    for prompt_id, num_tokens in zip(
        lengths["prompt_id"].tolist(), lengths["num_prefill_tokens"].tolist(), strict=True
    ):
        count = -(-num_tokens // CHUNK_TOKENS)
        shared = [
            block * chunks_a_block + chunk
            for block in prompts[prompt_id].get("block_ids", ())
            for chunk in range(chunks_a_block)
        ][:count]
        if prompt_id not in own:
            own[prompt_id] = next_id
            next_id += count - len(shared)
        yield shared + list(range(own[prompt_id], own[prompt_id] + count - len(shared)))


if __name__ == "__main__":
    main()

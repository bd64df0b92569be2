"""A workload survives the way to other tools and back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.core.tables.invariants import read_workload_tables
from gpu_timing_assets.workload.exports import (
    VIDUR_DATE,
    export_timed_trace,
    export_vidur_trace,
    main,
)

SAMPLES = Path(__file__).parent / "samples"
MOONCAKE = {
    "source": {"kind": "trace", "format": "mooncake", "path": str(SAMPLES / "mooncake.jsonl")},
    "arrivals": {"kind": "trace"},
    "prefill_lengths": None,
    "decode_lengths": None,
    "num_requests": None,
}


def assert_same_work(requests: Any, directory: Path) -> None:
    lengths, intervals = read_workload_tables(directory)
    planned = intervals["arrival_time_ns"].to_numpy()
    np.testing.assert_array_equal(requests.arrival_time_ns, planned - planned[0])
    np.testing.assert_array_equal(requests.num_prefill_tokens, lengths["num_prefill_tokens"])
    np.testing.assert_array_equal(requests.num_decode_tokens, lengths["num_decode_tokens"])


@pytest.mark.parametrize("changes", [{"num_requests": 300}, MOONCAKE])
def test_a_timed_trace_reads_back_as_the_same_work(
    written: Callable[..., Any],
    from_trace: Callable[..., Any],
    tmp_path: Path,
    changes: dict[str, Any],
) -> None:
    directory, _ = written(**changes)
    export_timed_trace(directory, tmp_path / "timed.jsonl")
    assert_same_work(from_trace("qwen_bailian", tmp_path / "timed.jsonl"), directory)


@pytest.mark.parametrize("changes", [{"num_requests": 300}, MOONCAKE])
def test_a_vidur_trace_reads_back_as_the_same_work(
    written: Callable[..., Any],
    from_trace: Callable[..., Any],
    tmp_path: Path,
    changes: dict[str, Any],
) -> None:
    directory, _ = written(**changes)
    export_vidur_trace(directory, tmp_path / "vidur.csv")
    assert_same_work(from_trace("splitwise", tmp_path / "vidur.csv"), directory)


def test_a_timed_trace_has_a_hash_for_every_sixteen_tokens_so_that_vllm_fills_every_prompt(
    written: Callable[..., Any], tmp_path: Path
) -> None:
    directory, _ = written()
    export_timed_trace(directory, tmp_path / "timed.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "timed.jsonl").read_text().splitlines()]
    assert all(len(row["hash_ids"]) == -(-row["input_length"] // 16) for row in rows)
    every = [chunk for row in rows for chunk in row["hash_ids"]]
    assert len(set(every)) == len(every)


def test_a_timed_trace_keeps_the_shared_prefixes_and_no_others(
    written: Callable[..., Any], tmp_path: Path
) -> None:
    directory, _ = written(**MOONCAKE)
    export_timed_trace(directory, tmp_path / "timed.jsonl")
    first, second, third, fourth = (
        json.loads(line)["hash_ids"] for line in (tmp_path / "timed.jsonl").read_text().splitlines()
    )
    assert first[:64] == second[:64]
    assert first[:32] == third[:32]
    assert not set(first[64:]) & set(second[64:])
    assert not set(third[32:]) & (set(first) | set(second))
    assert not set(fourth) & (set(first) | set(second) | set(third))


def test_the_same_prompt_again_has_the_same_hashes(
    written: Callable[..., Any], tmp_path: Path
) -> None:
    directory, _ = written(
        source={"kind": "prompt_file", "path": str(SAMPLES / "prompts.jsonl")},
        prefill_lengths=None,
        num_requests=6,
    )
    export_timed_trace(directory, tmp_path / "timed.jsonl")
    hashes = [
        json.loads(line)["hash_ids"] for line in (tmp_path / "timed.jsonl").read_text().splitlines()
    ]
    assert hashes[:3] == hashes[3:]


def test_the_published_vidur_replays_the_trace(written: Callable[..., Any], tmp_path: Path) -> None:
    from vidur.config import TraceRequestGeneratorConfig
    from vidur.request_generator.trace_replay_request_generator import TraceReplayRequestGenerator

    directory, _ = written()
    export_vidur_trace(directory, tmp_path / "vidur.csv")
    replayed = TraceReplayRequestGenerator(
        TraceRequestGeneratorConfig(
            trace_file=str(tmp_path / "vidur.csv"),
            date=VIDUR_DATE,
            prefill_scale_factor=1,
            time_scale_factor=1,
        )
    ).generate_requests()
    lengths, intervals = read_workload_tables(directory)
    found = pd.DataFrame(
        [
            (request.num_prefill_tokens, request.num_decode_tokens, round(request.arrived_at * 1e9))
            for request in replayed
        ],
        columns=["num_prefill_tokens", "num_decode_tokens", "arrival_time_ns"],
    )
    pd.testing.assert_frame_equal(
        found,
        lengths[["num_prefill_tokens", "num_decode_tokens"]].join(intervals["arrival_time_ns"]),
        check_dtype=False,
    )


def test_the_command_writes_both(written: Callable[..., Any], tmp_path: Path) -> None:
    directory, meta = written()
    main(
        [
            str(directory),
            "--timed-trace",
            str(tmp_path / "a.jsonl"),
            "--vidur-trace",
            str(tmp_path / "b.csv"),
        ]
    )
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == meta.num_requests
    assert len((tmp_path / "b.csv").read_text().splitlines()) == meta.num_requests + 1


def test_a_closed_loop_has_no_arrivals_to_export(
    written: Callable[..., Any], tmp_path: Path
) -> None:
    directory, _ = written(arrivals={"kind": "closed_loop", "users": 2, "think_time_s": 1})
    with pytest.raises(WorkloadError, match="closed loop"):
        export_vidur_trace(directory, tmp_path / "vidur.csv")
    assert not (tmp_path / "vidur.csv").exists()

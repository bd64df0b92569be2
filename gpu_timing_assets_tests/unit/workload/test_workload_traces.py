"""Each public trace is read by its header names; what is left out is counted and named."""

import bz2
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_timing_assets.workload.requests import Requests
from gpu_timing_assets.workload.tokenizer import WorkloadTokenizer

SAMPLES = Path(__file__).parent / "samples"

FromTrace = Callable[..., Requests]

# format, sample, arrival times in ns, prompt tokens, output tokens
EXPECTED = [
    (
        "azure_2023",
        "azure_2023.csv",
        [0, 4_314_579_000, 4_541_877_000, 15_819_410_000],
        [374, 396, 879, 91],
        [44, 109, 55, 16],
    ),
    (
        "azure_2024",
        "azure_2024.csv",
        [0, 7_405_000, 990_070_000, 1_240_070_000],
        [2162, 2399, 76, 2376],
        [5, 6, 15, 32],
    ),
    (
        "splitwise",
        "splitwise.csv",
        [0, 4_314_579_000, 4_541_877_000, 15_819_410_000],
        [374, 396, 879, 91],
        [44, 109, 55, 16],
    ),
    (
        "mooncake",
        "mooncake.jsonl",
        [0, 0, 3_055_000_000, 6_001_000_000],
        [1100, 1300, 700, 512],
        [52, 26, 12, 1],
    ),
    (
        "qwen_bailian",
        "qwen_bailian.jsonl",
        [0, 1_386_000_000, 1_386_000_000],
        [40, 70, 33],
        [21, 132, 9],
    ),
    ("burstgpt", "burstgpt_2.csv", None, [472, 87], [18, 230]),
    ("plain", "plain.csv", [0, 1, 2_500_000_000], [10, 20, 30], [2, 3, 4]),
    ("plain", "plain.jsonl", [0, 1_500_000_000], [10, 20], [2, 3]),
]


@pytest.mark.parametrize(("trace_format", "sample", "times_ns", "prefill", "decode"), EXPECTED)
def test_a_trace_gives_its_times_and_lengths(
    from_trace: FromTrace,
    trace_format: str,
    sample: str,
    times_ns: list[int] | None,
    prefill: list[int],
    decode: list[int],
) -> None:
    requests = from_trace(trace_format, sample)
    if times_ns is not None:
        assert requests.arrival_time_ns.tolist() == times_ns
    assert requests.num_prefill_tokens.tolist() == prefill
    assert requests.num_decode_tokens.tolist() == decode


def test_azure_keeps_the_seventh_digit_of_a_second(from_trace: FromTrace, tmp_path: Path) -> None:
    path = tmp_path / "azure.csv"
    path.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.0000001,1,1\n2023-11-16 "
        "18:15:46.1,1,1\n"
    )
    assert from_trace("azure_2023", path).arrival_time_ns.tolist() == [0, 99_999_900]


def test_columns_are_found_by_name_not_by_place(from_trace: FromTrace, tmp_path: Path) -> None:
    path = tmp_path / "moved.csv"
    path.write_text(
        "extra,GeneratedTokens,TIMESTAMP,ContextTokens\nx,5,2024-05-10 00:00:00+00:00,7\n"
    )
    requests = from_trace("azure_2024", path)
    assert (requests.num_prefill_tokens.tolist(), requests.num_decode_tokens.tolist()) == ([7], [5])


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zip"])
def test_a_compressed_trace_is_the_same_trace(
    from_trace: FromTrace, tmp_path: Path, suffix: str
) -> None:
    content = (SAMPLES / "azure_2023.csv").read_bytes()
    path = tmp_path / f"trace.csv.{suffix}"
    if suffix == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("trace.csv", content)
    else:
        path.write_bytes({"gz": gzip, "bz2": bz2, "xz": lzma}[suffix].compress(content))
    plain, packed = from_trace("azure_2023", "azure_2023.csv"), from_trace("azure_2023", path)
    np.testing.assert_array_equal(packed.arrival_time_ns, plain.arrival_time_ns)
    np.testing.assert_array_equal(packed.num_prefill_tokens, plain.num_prefill_tokens)


def test_rows_that_cannot_be_served_are_counted_and_named(from_trace: FromTrace) -> None:
    source = from_trace("azure_2023", "azure_2023.csv").source
    assert source["left_out"] == {"no_output_tokens": {"count": 1, "rows": [5]}}
    assert (source["rows_read"], source["requests_taken"]) == (5, 4)


def test_the_metadata_name_the_trace_its_licence_and_its_hash(written: Callable[..., Any]) -> None:
    _, meta = written(
        source={"kind": "trace", "format": "azure_2023", "path": str(SAMPLES / "azure_2023.csv")},
        arrivals={"kind": "trace"},
        prefill_lengths=None,
        decode_lengths=None,
        num_requests=None,
    )
    assert meta.source["name"] == "Azure LLM inference 2023"
    assert meta.source["licence"] == "CC-BY"
    assert meta.source["file"] == "azure_2023.csv"
    assert len(meta.source["sha256"]) == 64


def test_burstgpt_places_requests_within_their_second_in_order(from_trace: FromTrace) -> None:
    requests = from_trace("burstgpt", "burstgpt_1.csv")
    assert requests.source["name"] == "BurstGPT 1.1"
    assert requests.source["left_out"] == {"no_output_tokens": {"count": 1, "rows": [5]}}
    assert requests.num_prefill_tokens.tolist() == [472, 1087, 417, 185]
    times = requests.arrival_time_ns
    assert (np.diff(times) > 0).all()
    assert 39e9 < times[1] < times[2] < 41e9
    np.testing.assert_array_equal(times, from_trace("burstgpt", "burstgpt_1.csv").arrival_time_ns)


def test_burstgpt_2_is_told_by_its_session_ids(from_trace: FromTrace) -> None:
    assert from_trace("burstgpt", "burstgpt_2.csv").source["name"] == "BurstGPT 2.0"


def test_sharegpt_gives_first_questions_and_the_lengths_of_their_answers(
    made: Callable[..., Requests], tokenizer: WorkloadTokenizer
) -> None:
    requests = made(
        source={"kind": "trace", "format": "sharegpt", "path": str(SAMPLES / "sharegpt.json")},
        prefill_lengths=None,
        decode_lengths=None,
        num_requests=None,
    )
    assert [prompt.text for prompt in requests.prompts.texts] == [
        "What is the capital of Peru?",
        "Count to five.",
    ]
    answers = tokenizer.encode(["Lima.", "One, two, three, four, five."])
    assert requests.num_decode_tokens.tolist() == [len(ids) for ids in answers]
    assert requests.source["left_out"] == {
        "does_not_begin_with_question_and_answer": {"count": 1, "rows": [2]},
        "fewer_than_two_turns": {"count": 1, "rows": [3]},
        "no_output_tokens": {"count": 1, "rows": [5]},
    }


def test_block_hashes_become_shared_prefixes(written: Callable[..., Any]) -> None:
    from gpu_timing_assets.core.prompts import read_prompt_token_ids

    directory, _ = written(
        source={"kind": "trace", "format": "mooncake", "path": str(SAMPLES / "mooncake.jsonl")},
        arrivals={"kind": "trace"},
        prefill_lengths=None,
        decode_lengths=None,
        num_requests=None,
    )
    first, second, third, _ = read_prompt_token_ids(directory)
    assert first[:1024] == second[:1024]
    assert first[1024:] != second[1024:1100]
    # the third shares one block, its second is its own
    assert third[:512] == first[:512]
    assert third[512:] != first[512:700]
    row = json.loads((directory / "prompts.jsonl").read_text().splitlines()[0])
    assert (row["text"], row["block_size_tokens"], row["block_ids"]) == (None, 512, [46, 47, 48])


def test_a_window_is_taken_from_the_traces_first_row_and_starts_the_workload(
    from_trace: FromTrace,
) -> None:
    requests = from_trace("splitwise", "splitwise.csv", window_start_s=4, window_end_s=15)
    assert requests.arrival_time_ns.tolist() == [0, 227_298_000]
    assert requests.source["left_out"]["outside_window"] == {"count": 2, "rows": [2, 5]}


def test_a_request_cap_takes_the_first(from_trace: FromTrace) -> None:
    requests = from_trace("splitwise", "splitwise.csv", max_requests=2)
    assert requests.num_prefill_tokens.tolist() == [374, 396]
    assert requests.source["left_out"]["over_max_requests"] == {"count": 2}


def test_times_are_scaled_to_a_target_rate(from_trace: FromTrace) -> None:
    requests = from_trace("splitwise", "splitwise.csv", target_rate_per_s=6)
    assert requests.arrival_time_ns[-1] == 500_000_000
    original = from_trace("splitwise", "splitwise.csv").arrival_time_ns
    np.testing.assert_allclose(
        requests.arrival_time_ns / 500_000_000, original / original[-1], atol=1e-8
    )


@pytest.mark.parametrize(
    ("bounds", "prefill", "reason"),
    [
        ({"min_prefill_tokens": 380}, [396, 879], "prefill_tokens_out_of_bounds"),
        ({"max_prefill_tokens": 380}, [374, 91], "prefill_tokens_out_of_bounds"),
        ({"max_decode_tokens": 50}, [374, 91], "decode_tokens_out_of_bounds"),
        ({"max_total_tokens": 505}, [374, 396, 91], "total_tokens_out_of_bounds"),
    ],
)
def test_requests_outside_the_bounds_are_left_out_and_counted(
    from_trace: FromTrace, bounds: dict[str, int], prefill: list[int], reason: str
) -> None:
    requests = from_trace("splitwise", "splitwise.csv", **bounds)
    assert requests.num_prefill_tokens.tolist() == prefill
    assert requests.source["left_out"][reason]["count"] == 4 - len(prefill)


def test_a_filter_does_not_change_the_tokens_of_the_requests_that_stay(
    from_trace: FromTrace,
) -> None:
    every, some = (
        from_trace("splitwise", "splitwise.csv", **bounds)
        for bounds in ({}, {"min_prefill_tokens": 380})
    )
    assert every.prompts.prompt_ids[1:3] == some.prompts.prompt_ids == ["row-3", "row-4"]
    assert every.prompts.token_seeds[1:3].tolist() == some.prompts.token_seeds.tolist()


def test_a_traces_lengths_can_arrive_at_other_times(made: Callable[..., Requests]) -> None:
    requests = made(
        source={"kind": "trace", "format": "splitwise", "path": str(SAMPLES / "splitwise.csv")},
        arrivals={"kind": "constant", "rate_per_s": 2},
        prefill_lengths=None,
        decode_lengths=None,
        num_requests=None,
    )
    assert requests.arrival_time_ns.tolist() == [0, 500_000_000, 1_000_000_000, 1_500_000_000]


def test_prompts_of_a_file_can_arrive_at_the_times_of_a_trace(
    made: Callable[..., Requests],
) -> None:
    requests = made(
        source={"kind": "prompt_file", "path": str(SAMPLES / "prompts.jsonl")},
        prefill_lengths=None,
        decode_lengths=None,
        num_requests=None,
        arrivals={
            "kind": "trace",
            "trace": {"format": "plain", "path": str(SAMPLES / "times.csv")},
        },
    )
    assert requests.arrival_time_ns.tolist() == [0, 250_000_000, 250_000_000, 2_000_000_000]
    assert requests.prompts.prompt_ids == ["greeting", "question", "umlaut", "greeting"]


def test_lengths_can_be_drawn_from_a_trace(made: Callable[..., Requests]) -> None:
    trace = {"format": "splitwise", "path": str(SAMPLES / "splitwise.csv")}
    requests = made(
        decode_lengths={"kind": "empirical", "trace": trace, "column": "num_decode_tokens"},
        num_requests=200,
    )
    assert set(requests.num_decode_tokens) == {44, 109, 55, 16}
    assert requests.source["decode_lengths_trace"]["name"] == "Splitwise, as Vidur ships it"

"""Prompts as token ids: from texts without a tokenizer at replay, from seeds everywhere the
same.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.prompts import WorkloadPrompts, prompt_token_ids, read_prompt_token_ids
from gpu_timing_assets.core.tables.schemas import TRACE_LENGTHS
from gpu_timing_assets.workload.tokenizer import WorkloadTokenizer

SAMPLES = Path(__file__).parent / "samples"

PROMPT_FILE = {
    "source": {"kind": "prompt_file", "path": str(SAMPLES / "prompts.jsonl")},
    "prefill_lengths": None,
    "decode_lengths": None,
    "num_requests": None,
}


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**53),
    st.integers(1, 300),
    st.integers(100, 200_000),
    st.sets(st.integers(0, 99), max_size=5),
    st.lists(st.integers(0, 2**40), max_size=6),
    st.sampled_from([16, 64]),
)
def test_any_prompt_has_its_exact_length_and_no_special_token(
    seed: int, count: int, vocabulary: int, special: set[int], blocks: list[int], block_size: int
) -> None:
    ids = prompt_token_ids(
        seed,
        count,
        vocabulary,
        special_token_ids=sorted(special),
        block_ids=blocks,
        block_size_tokens=block_size,
    )
    assert len(ids) == count
    assert min(ids) >= 0
    assert max(ids) < vocabulary
    assert not special & set(ids)


def test_every_token_but_the_special_ones_occurs() -> None:
    assert set(prompt_token_ids(1, 5_000, 50, special_token_ids=[0, 7, 49])) == set(range(50)) - {
        0,
        7,
        49,
    }


def test_a_longer_prompt_of_a_seed_begins_with_the_shorter_one() -> None:
    assert prompt_token_ids(3, 100, 1_000)[:40] == prompt_token_ids(3, 40, 1_000)


def test_prompts_with_the_same_first_blocks_share_exactly_those_tokens() -> None:
    one = prompt_token_ids(1, 50, 151_643, block_ids=[8, 9, 10], block_size_tokens=16)
    two = prompt_token_ids(2, 50, 151_643, block_ids=[8, 9, 11], block_size_tokens=16)
    assert one[:32] == two[:32]
    assert all(a != b for a, b in zip(one[32:], two[32:], strict=True))


def test_a_block_that_a_prompt_ends_within_is_cut() -> None:
    whole = prompt_token_ids(1, 16, 151_643, block_ids=[8], block_size_tokens=16)
    assert prompt_token_ids(2, 5, 151_643, block_ids=[8], block_size_tokens=16) == whole[:5]


def test_prompts_of_a_synthetic_workload_have_the_lengths_of_the_trace(
    written: Callable[..., Any],
) -> None:
    directory, meta = written()
    ids = read_prompt_token_ids(directory)
    assert [len(prompt) for prompt in ids] == TRACE_LENGTHS.read(directory)[
        "num_prefill_tokens"
    ].tolist()
    assert sum(map(len, ids)) == meta.num_prefill_tokens
    assert len({tuple(prompt) for prompt in ids}) == len(ids)


def test_prompts_of_a_prompt_file_are_its_texts(
    written: Callable[..., Any], tokenizer: WorkloadTokenizer
) -> None:
    directory, _ = written(**PROMPT_FILE)
    texts = [
        json.loads(line)["text"] for line in (SAMPLES / "prompts.jsonl").read_text().splitlines()
    ]
    assert read_prompt_token_ids(directory) == tokenizer.encode(texts)
    assert [
        json.loads(line)["text"] for line in (directory / "prompts.jsonl").read_text().splitlines()
    ] == texts
    assert TRACE_LENGTHS.read(directory)["num_decode_tokens"].tolist() == [3, 7, 5]


def test_prompts_are_used_again_if_more_requests_are_wanted(made: Callable[..., Any]) -> None:
    requests = made(**{**PROMPT_FILE, "num_requests": 7})
    assert requests.prompts.prompt_ids == ["greeting", "question", "umlaut"] * 2 + ["greeting"]


def test_shuffled_prompts_are_each_used_once_a_round(made: Callable[..., Any]) -> None:
    source = {**PROMPT_FILE["source"], "order": "shuffled"}
    rounds = made(**{**PROMPT_FILE, "source": source, "num_requests": 60}).prompts.prompt_ids
    assert all(
        set(rounds[begin : begin + 3]) == {"greeting", "question", "umlaut"}
        for begin in range(0, 60, 3)
    )
    assert rounds[:30] != ["greeting", "question", "umlaut"] * 10


def test_a_prompt_may_be_called_na(written: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "names.jsonl").write_text(
        '{"prompt_id": "NA", "text": "Hi"}\n{"prompt_id": "a, \\"b\\"", "text": "Ho"}\n'
    )
    directory, _ = written(
        **{
            **PROMPT_FILE,
            "source": {"kind": "prompt_file", "path": str(tmp_path / "names.jsonl")},
            "decode_lengths": {"kind": "fixed", "tokens": 2},
        }
    )
    assert TRACE_LENGTHS.read(directory)["prompt_id"].tolist() == ["NA", 'a, "b"']
    assert len(read_prompt_token_ids(directory)) == 2


def test_the_lazy_form_gives_single_prompts_and_slices(written: Callable[..., Any]) -> None:
    directory, meta = written()
    prompts, all_ids = WorkloadPrompts(directory), read_prompt_token_ids(directory)
    assert len(prompts) == meta.num_requests
    assert prompts[-1] == all_ids[-1]
    assert prompts[2:4] == all_ids[2:4]


def test_reading_prompts_loads_no_tokenizer_torch_or_vllm(written: Callable[..., Any]) -> None:
    directory, _ = written(**PROMPT_FILE)
    code = (
        "import sys, pathlib; from gpu_timing_assets.core.prompts import read_prompt_token_ids; "
        "read_prompt_token_ids(pathlib.Path(sys.argv[1])); "
        "assert not {'torch', 'vllm', 'tokenizers', 'altair'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(directory)], check=True)


@pytest.mark.parametrize(
    ("file", "message"),
    [("prompts.jsonl", "is not the file"), ("prompt_token_ids.jsonl", "is not the file")],
)
def test_a_changed_file_of_prompts_is_refused(
    written: Callable[..., Any], file: str, message: str
) -> None:
    directory, _ = written(**PROMPT_FILE)
    path = directory / file
    path.write_text(path.read_text().replace("greeting", "greetinG"))
    with pytest.raises(ArtifactError, match=f"{file} {message}"):
        read_prompt_token_ids(directory)


def test_a_missing_file_of_prompts_is_refused(written: Callable[..., Any]) -> None:
    directory, _ = written(**PROMPT_FILE)
    (directory / "prompt_token_ids.jsonl").unlink()
    with pytest.raises(ArtifactError, match=r"prompt_token_ids\.jsonl is missing"):
        read_prompt_token_ids(directory)

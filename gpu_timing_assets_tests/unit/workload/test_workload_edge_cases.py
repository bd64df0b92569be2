"""Small files of the kinds that people have: each is read right, or refused in one line that names
the row and what is wrong with it.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.core.workload import said_of_source
from gpu_timing_assets.workload.requests import Requests

EDGE = Path(__file__).parent / "samples" / "edge"
FORMATS = {
    **{"az": "azure_2023", "mc": "mooncake", "bg": "burstgpt"},
    **{"pl": "plain", "sg": "sharegpt"},
}

Read = Callable[..., Requests]


@pytest.fixture
def read(made: Callable[..., Requests]) -> Read:
    def build(path: Path, **selection: Any) -> Requests:
        kind = path.name[:2]
        source = {"kind": "trace", "format": FORMATS.get(kind), "path": str(path), **selection}
        if kind == "pf":
            source = {"kind": "prompt_file", "path": str(path)}
        return made(
            source=source,
            arrivals={"kind": "all_at_once" if kind in ("pf", "sg") else "trace"},
            **dict.fromkeys(("prefill_lengths", "decode_lengths", "num_requests")),
        )

    return build


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("az_dupcol.csv", "column 'ContextTokens' stands twice in the header"),
        ("az_year1.csv", "row 2: TIMESTAMP is '0001-01-01 00:00:00', expected a date"),
        ("az_year9999.csv", "row 2: TIMESTAMP is '9999-12-31 00:00:00', expected a date"),
        ("mc_blk16.jsonl", "they look like blocks of 16: set block_size_tokens=16"),
        ("mc_dupkey.jsonl", "line 1: not JSON (key 'input_length' stands twice)"),
        (
            "mc_hashfew.jsonl",
            "line 1: hash_ids has 1 blocks of 512 tokens for a prompt of 1500, which has 3",
        ),
        ("mc_hugeint.jsonl", "line 1: timestamp is 9999"),
        ("pf_idsurr.jsonl", "line 1: not JSON (it has half a character"),
        ("pf_surr.jsonl", "line 1: not JSON (it has half a character"),
        ("pl_both.csv", "there are both arrival_time_ns and arrival_time_s"),
        ("sg_surrogate.json", "conversation 1: a turn holds half a character"),
        ("sg_surrogate_ans.json", "conversation 1: a turn holds half a character"),
    ],
)
def test_what_cannot_be_read_is_one_line(read: Read, name: str, says: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        read(EDGE / name)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "times_ns", "prefill"),
    [
        ("az_mac.zip", [0, 990_070_000, 1_490_070_100], [20, 21, 22]),
        ("bg_float.csv", [0, 250_000_000, 500_000_000, 875_000_000, 3_750_000_000], None),
        ("mc_bom.jsonl", [0], [20]),
        ("mc_floatlen.jsonl", [0, 30_000_000], [20, 20]),
        ("mc_nohash.jsonl", [0], [20]),
        ("pf_bom.jsonl", [0], None),
        ("pl_blankfirst.jsonl", [0], [20]),
        ("pl_spacefirst.jsonl", [0], [20]),
    ],
)
def test_what_can_be_read_is(
    read: Read, name: str, times_ns: list[int], prefill: list[int] | None
) -> None:
    requests = read(EDGE / name)
    assert requests.arrival_time_ns.tolist() == times_ns
    assert prefill is None or requests.num_prefill_tokens.tolist() == prefill


def test_a_block_size_of_the_preset_is_that_of_the_hashes(read: Read) -> None:
    requests = read(EDGE / "mc_blk16.jsonl", block_size_tokens=16)
    assert requests.prompts.block_ids == [[1, 2, 3]]
    assert requests.prompts.block_size_tokens == 16


def test_a_format_without_blocks_takes_no_block_size(read: Read) -> None:
    with pytest.raises(WorkloadError, match="format azure_2023 has no blocks"):
        read(EDGE / "az_mac.zip", block_size_tokens=16)


def test_mooncake_read_as_bailian_is_a_near_miss(read: Read) -> None:
    with pytest.raises(WorkloadError, match="they look like blocks of 512: .*format=mooncake"):
        read(EDGE.parent / "mooncake.jsonl", format="qwen_bailian")


def test_a_file_without_hashes_says_so_and_shares_nothing(read: Read) -> None:
    requests = read(EDGE / "mc_nohash.jsonl")
    assert requests.prompts.block_ids is None
    assert requests.source["notes"] == ["there is no hash_ids: no prompts share a prefix"]


def test_hashes_in_some_rows_alone_are_refused(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "mc.jsonl"
    content = (EDGE / "mc_nohash.jsonl").read_text() + (EDGE / "mc_floatlen.jsonl").read_text()
    path.write_text(content)
    with pytest.raises(WorkloadError, match="line 2: hash_ids is not in the first row"):
        read(path)


def test_fractions_of_seconds_are_said_to_be_taken_as_they_are(read: Read) -> None:
    assert "fractions of seconds" in read(EDGE / "bg_float.csv").source["notes"][0]


def from_plain(path: Path) -> dict[str, Any]:
    return {
        "source": {"kind": "trace", "format": "plain", "path": str(path), "max_total_tokens": 60},
        "arrivals": {"kind": "trace"},
        **dict.fromkeys(("prefill_lengths", "decode_lengths", "num_requests")),
    }


def plain_file(path: Path) -> Path:
    path.write_text(
        "arrival_time_s,num_prefill_tokens,num_decode_tokens\n0,20,5\n1,90,5\n2,0,5\n3,20,5\n"
    )
    return path


def test_what_is_left_out_is_said_on_the_page(written: Callable[..., Any], tmp_path: Path) -> None:
    directory, meta = written(**from_plain(plain_file(tmp_path / "mine.csv")))
    said = "left out 2 of 4 rows: 1 no prompt tokens, 1 total tokens out of bounds"
    assert said_of_source(meta) == [said]
    assert said in (directory / "workload.html").read_text()


def test_the_same_file_under_another_path_is_the_same_workload(
    written: Callable[..., Any], tmp_path: Path
) -> None:
    first = plain_file(tmp_path / "mine.csv")
    directory, meta = written(**from_plain(first))
    moved = Path(shutil.move(first, tmp_path / "moved.csv"))
    assert written(**from_plain(moved)) == (directory, meta)


def test_another_file_under_the_same_path_is_another_workload(
    written: Callable[..., Any], tmp_path: Path
) -> None:
    path = plain_file(tmp_path / "mine.csv")
    written(**from_plain(path))
    path.write_text(path.read_text() + "4,20,5\n")
    with pytest.raises(WorkloadError, match="made from something else"):
        written(**from_plain(path))

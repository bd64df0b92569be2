"""What cannot be used is one clear error, and nothing is written."""

import bz2
import gzip
import lzma
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpu_timing_assets.config.experiment import compose
from gpu_timing_assets.core.errors import BusyError, GpuTimingError, PresetError, WorkloadError
from gpu_timing_assets.workload.input_files import INPUT_ROOTS_VARIABLE

SAMPLES = Path(__file__).parent / "samples"
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
SPLITWISE = "arrived_at,num_prefill_tokens,num_decode_tokens\n"
MOONCAKE = '{"timestamp": 0, "input_length": 10, "output_length": 2, "hash_ids": [1]}\n'
GOOD_PROMPT = '{"prompt_id": "a", "text": "Hi"}\n'
OF_TRACE = {
    "prefill_lengths": None,
    "decode_lengths": None,
    "num_requests": None,
    "arrivals": {"kind": "trace"},
}

# format, what is in the file, and what the error has to say
TRACES = [
    (
        "azure_2023",
        "TIMESTAMP,ContextTokens\n",
        "column 'GeneratedTokens' is missing (found: TIMESTAMP, ContextTokens)",
    ),
    ("azure_2023", "", "there is no header"),
    ("azure_2023", AZURE, "no row below the header"),
    (
        "azure_2023",
        AZURE + "2023-11-16 18:15:46.1,-3,4\n",
        "row 2: ContextTokens is '-3', expected a whole number that is not neg",
    ),
    (
        "azure_2023",
        AZURE + "2023-11-16 18:15:46.1,3,4\n2023-11-16 18:15:47,,4\n",
        "row 3: ContextTokens is empty",
    ),
    (
        "azure_2023",
        AZURE + "2023-11-16 18:15:46.1,3.5,4\n",
        "row 2: ContextTokens is '3.5', expected a whole number",
    ),
    (
        "azure_2023",
        AZURE + "2023-11-16 18:15:46.1,many,4\n",
        "row 2: ContextTokens is 'many', expected a whole number",
    ),
    ("azure_2023", AZURE + "2023-11-16 18:15:46.1,3,nan\n", "row 2: GeneratedTokens is 'nan'"),
    (
        "azure_2023",
        AZURE + "2023-11-16 18:15:46.1,3,99999999999\n",
        "row 2: GeneratedTokens is '99999999999'",
    ),
    (
        "azure_2023",
        AZURE + "yesterday,3,4\n",
        "row 2: TIMESTAMP is 'yesterday', expected an ISO 8601 date and time",
    ),
    ("azure_2023", AZURE + ",3,4\n", "row 2: TIMESTAMP is empty"),
    (
        "azure_2023",
        AZURE + "99999-01-01 00:00:00,3,4\n",
        "row 2: TIMESTAMP is '99999-01-01 00:00:00', expected an ISO 8601 date and time",
    ),
    (
        "azure_2023",
        AZURE + "9999-01-01 00:00:00,3,4\n",
        "row 2: TIMESTAMP is '9999-01-01 00:00:00', expected a date",
    ),
    (
        "azure_2023",
        AZURE + f"2023-11-16 18:15:46.1,3,{2**70}\n",
        "row 2: GeneratedTokens is '1180591620717411303424'",
    ),
    (
        "azure_2023",
        "TIMESTAMP,ContextTokens,GeneratedTokens,ContextTokens\n",
        "column 'ContextTokens' stands twice in the header",
    ),
    (
        "azure_2023",
        AZURE + "2023-11-16 18:15:46,3,4\n2023-11-16 18:15:45,3,4\n",
        "row 3: TIMESTAMP goes back: sort the file",
    ),
    (
        "azure_2023",
        AZURE + "2023-11-16 18:15:46,3,4\n" + SPLITWISE + "0.5,3,4\n",
        "row 3: ContextTokens is 'num_prefill_tokens'",
    ),
    ("azure_2023", AZURE + "2023-11-16 18:15:46,3,4\n" + SPLITWISE, "are two formats in one file?"),
    (
        "azure_2023",
        AZURE + "2023-11-16 18:15:46,3,4\n2023-11-16 18:15:47,2,3,4,5\n",
        "row 3: more cells than the header's 3:",
    ),
    ("azure_2023", AZURE + "2023-11-16 18:15:46,3,4,5\n", "row 2: more cells than the header's 3:"),
    (
        "azure_2023",
        AZURE + "2023-11-16 18:15:46,3,4,5,6,7\n",
        "row 2: more cells than the header's 3:",
    ),
    (
        "azure_2023",
        AZURE + "2023-11-16 18:15:46,3,4\n2023-11-16 18:15:47,2\n",
        "row 3: GeneratedTokens is empty",
    ),
    ("azure_2023", AZURE + '2023-11-16 18:15:46,3,"4\n', "not a CSV file of 3 columns"),
    (
        "azure_2023",
        AZURE + "2023-11-16 18:15:46,3,0\n",
        "no request is left of 1 (1 no output tokens)",
    ),
    ("splitwise", SPLITWISE + "soon,3,4\n", "row 2: arrived_at is 'soon', expected a number"),
    ("splitwise", SPLITWISE + "-1,3,4\n", "row 2: arrived_at is '-1'"),
    ("splitwise", SPLITWISE + "inf,3,4\n", "row 2: arrived_at is 'inf'"),
    (
        "splitwise",
        SPLITWISE + "1e300,3,4\n",
        "row 2: arrived_at is '1e300', expected a time within a century",
    ),
    ("splitwise", MOONCAKE, "is missing (found:"),
    ("mooncake", MOONCAKE + AZURE, "line 2: not JSON"),
    ("mooncake", MOONCAKE + "[1, 2]\n", "line 2: not a JSON object"),
    (
        "mooncake",
        MOONCAKE + '{"prompt_id": "a"}\n',
        "line 2: timestamp is missing (found: prompt_id): are two formats in one file?",
    ),
    ("mooncake", MOONCAKE.replace("10", "-10"), "line 1: input_length is -10"),
    ("mooncake", MOONCAKE.replace("10", '"ten"'), "line 1: input_length is 'ten'"),
    ("mooncake", MOONCAKE.replace("0,", "NaN,", 1), "line 1: not JSON (NaN is no number)"),
    ("mooncake", MOONCAKE.replace("0,", f"{2**70},", 1), "line 1: timestamp is 1180591620717"),
    ("mooncake", MOONCAKE.replace("0,", "9" * 5000 + ",", 1), "line 1: not JSON"),
    ("mooncake", "[" * 100_000 + "\n", "line 1: not JSON (it is nested too deep)"),
    ("mooncake", MOONCAKE.replace("{", '{"timestamp": 1, '), "key 'timestamp' stands twice"),
    ("mooncake", MOONCAKE.replace("[1]", f"[{2**70}]"), "line 1: hash_ids"),
    ("sharegpt", "[" * 100_000, "not JSON"),
    (
        "sharegpt",
        '[{"conversations": [{"from": "human", "value": "\\ud800"}, '
        '{"from": "gpt", "value": "x"}]}]',
        "conversation 1: a turn holds half a character",
    ),
    (
        "mooncake",
        MOONCAKE.replace("[1]", "[1, 2]"),
        "line 1: hash_ids has 2 blocks of 512 tokens for a prompt of 10",
    ),
    (
        "mooncake",
        MOONCAKE.replace("[1]", '["x"]'),
        "line 1: hash_ids is not a list of whole numbers of 64 bits",
    ),
    ("mooncake", "\n", "there is no line in it"),
    ("sharegpt", "{}", "not a list of conversations"),
    ("sharegpt", '[{"id": "x"}]', "conversation 1: conversations is missing"),
    (
        "sharegpt",
        '[{"conversations": [{"from": "human"}]}]',
        "conversation 1: a turn needs the texts from and value",
    ),
    ("sharegpt", '[{"conversations": [', "not JSON"),
    (
        "plain",
        "arrival_time_s\n1\n",
        "columns 'num_prefill_tokens' and 'num_decode_tokens' are missing",
    ),
]


def nothing_is_written(root: Path) -> bool:
    return not (root / "workloads").exists() or not [
        path for path in (root / "workloads").iterdir() if not path.name.startswith(".")
    ]


@pytest.mark.parametrize(("trace_format", "content", "message"), TRACES)
def test_a_bad_trace_is_an_error_that_names_file_row_and_field(
    written: Callable[..., Any], tmp_path: Path, trace_format: str, content: str, message: str
) -> None:
    path = tmp_path / "bad.trace"
    path.write_text(content)
    arrivals = {"arrivals": {"kind": "all_at_once"}} if trace_format == "sharegpt" else {}
    with pytest.raises(WorkloadError) as caught:
        written(
            **{
                **OF_TRACE,
                **arrivals,
                "source": {"kind": "trace", "format": trace_format, "path": str(path)},
            }
        )
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert nothing_is_written(tmp_path)


def test_rows_are_counted_through_a_file_that_is_read_in_pieces(
    written: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpu_timing_assets.workload.csv_rows.CHUNK_ROWS", 2)
    path = tmp_path / "trace.csv"
    path.write_text(SPLITWISE + "1,2,3\n2,2,3\n3,2,3\n4,2,x\n")
    with pytest.raises(WorkloadError, match="row 5: num_decode_tokens is 'x'"):
        written(**OF_TRACE, source={"kind": "trace", "format": "splitwise", "path": str(path)})
    path.write_text(SPLITWISE + "1,2,3\n2,2,3\n1.5,2,3\n")
    with pytest.raises(WorkloadError, match="row 4: arrived_at goes back"):
        written(**OF_TRACE, source={"kind": "trace", "format": "splitwise", "path": str(path)})


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zip"])
def test_a_truncated_archive_is_an_error(
    written: Callable[..., Any], tmp_path: Path, suffix: str
) -> None:
    content = (
        AZURE
        + "".join(
            f"2023-11-16 18:15:46.{row:07d},{row % 977 + 1},{row * row % 53 + 1}\n"
            for row in range(30_000)
        )
    ).encode()
    path = tmp_path / f"trace.csv.{suffix}"
    if suffix == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("trace.csv", content)
    else:
        path.write_bytes({"gz": gzip, "bz2": bz2, "xz": lzma}[suffix].compress(content))
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(WorkloadError, match="truncated or damaged"):
        written(**OF_TRACE, source={"kind": "trace", "format": "azure_2023", "path": str(path)})
    assert nothing_is_written(tmp_path)


def test_an_encrypted_zip_is_an_error(written: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "secret.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", AZURE)
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    path.write_bytes(content)
    with pytest.raises(WorkloadError, match="is encrypted: unpack it"):
        written(**OF_TRACE, source={"kind": "trace", "format": "azure_2023", "path": str(path)})


def test_a_zip_of_several_files_is_an_error(written: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", AZURE)
        archive.writestr("b.csv", AZURE)
    with pytest.raises(WorkloadError, match="holds 2 files: unpack it"):
        written(**OF_TRACE, source={"kind": "trace", "format": "azure_2023", "path": str(path)})


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"window_start_s": 100}, "no request is left of 4 (4 outside window)"),
        ({"min_prefill_tokens": 5_000}, "no request is left of 4 (4 prefill tokens out of bounds)"),
        ({"max_requests": 1, "target_rate_per_s": 2}, "cannot be scaled to a rate"),
        ({"window_start_s": 1, "target_rate_per_s": 1e-10}, "more than a century"),
    ],
)
def test_a_selection_that_leaves_nothing_to_replay_is_an_error(
    written: Callable[..., Any], tmp_path: Path, selection: dict[str, Any], message: str
) -> None:
    with pytest.raises(WorkloadError) as caught:
        written(
            **OF_TRACE,
            source={
                "kind": "trace",
                "format": "splitwise",
                "path": str(SAMPLES / "splitwise.csv"),
                **selection,
            },
        )
    assert message in str(caught.value)
    assert nothing_is_written(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "there is no prompt in it"),
        ('{"prompt_id": "a"}\n', "line 1: text is missing (found: prompt_id)"),
        ('{"text": "Hi"}\n', "line 1: prompt_id is missing (found: text)"),
        (GOOD_PROMPT + "Hi\n", "line 2: not JSON"),
        (
            GOOD_PROMPT + '{"prompt_id": "b", "text": "\\ud800"}\n',
            "line 2: not JSON (it has half a",
        ),
        (GOOD_PROMPT + '{"prompt_id": "b", "text": "x", "text": "y"}\n', "'text' stands twice"),
        (GOOD_PROMPT + "[" * 100_000, "line 2: not JSON (it is nested too deep)"),
        (GOOD_PROMPT + "[]\n", "line 2: not a JSON object"),
        (GOOD_PROMPT + '{"prompt_id": "b", "text": 7}\n', "line 2: text is 7"),
        (GOOD_PROMPT + '{"prompt_id": "b", "text": " "}\n', "line 2: text is ' '"),
        (
            GOOD_PROMPT + '\n{"prompt_id": "a", "text": "Ho"}\n',
            "line 3: prompt_id 'a' is that of line 1 already",
        ),
        (
            GOOD_PROMPT + '{"prompt_id": "b", "txt": "Hi", "text": "Hi"}\n',
            "line 2: txt is not a field of a prompt",
        ),
        (
            GOOD_PROMPT + '{"prompt_id": "b", "text": "Hi", "num_decode_tokens": 0}\n',
            "line 2: num_decode_tokens is 0",
        ),
        (
            GOOD_PROMPT + '{"prompt_id": "b\\n", "text": "Hi"}\n',
            "line 2: prompt_id 'b\\n' has characters that do not print",
        ),
        (GOOD_PROMPT, "no num_decode_tokens there: set decode_lengths"),
        (
            GOOD_PROMPT + '{"prompt_id": "b", "text": "Hi", "num_decode_tokens": 4}\n',
            "prompt 'a' has no num_decode_tokens, others have",
        ),
        (
            '{"prompt_id": "a", "text": "' + "one two " * 3_000 + '", "num_decode_tokens": 4}\n',
            "longer than the context of 4096 tokens",
        ),
    ],
)
def test_a_bad_prompt_file_is_an_error_that_names_file_line_and_field(
    written: Callable[..., Any], tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(content)
    with pytest.raises(WorkloadError) as caught:
        written(
            source={"kind": "prompt_file", "path": str(path)},
            prefill_lengths=None,
            decode_lengths=None,
            num_requests=None,
        )
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert nothing_is_written(tmp_path)


def test_requests_over_the_context_are_an_error_that_counts_them(
    written: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(
        WorkloadError,
        match=r"20 requests are longer than the context of 4096 tokens; the first is request 0",
    ):
        written(decode_lengths={"kind": "fixed", "tokens": 4_095})
    assert nothing_is_written(tmp_path)


def test_more_requests_than_the_trace_has_are_an_error(written: Callable[..., Any]) -> None:
    with pytest.raises(WorkloadError, match="9 requests are wanted, the trace has 4"):
        written(
            **{**OF_TRACE, "num_requests": 9},
            source={"kind": "trace", "format": "splitwise", "path": str(SAMPLES / "splitwise.csv")},
        )


def test_a_trace_without_times_cannot_give_arrivals(written: Callable[..., Any]) -> None:
    with pytest.raises(WorkloadError, match="has no times: set another kind of arrivals"):
        written(
            **OF_TRACE,
            source={"kind": "trace", "format": "sharegpt", "path": str(SAMPLES / "sharegpt.json")},
        )


def test_a_path_outside_what_may_be_read_is_an_error(
    written: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(INPUT_ROOTS_VARIABLE)
    with pytest.raises(
        WorkloadError, match=f"outside the directories that may be read.*{INPUT_ROOTS_VARIABLE}"
    ):
        written(
            **OF_TRACE,
            source={"kind": "trace", "format": "splitwise", "path": str(SAMPLES / "splitwise.csv")},
        )


def test_a_link_or_dots_do_not_lead_out_of_what_may_be_read(
    written: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(INPUT_ROOTS_VARIABLE)
    (tmp_path / "link.csv").symlink_to(SAMPLES / "splitwise.csv")
    for path in (str(tmp_path / "link.csv"), "../../pyproject.toml"):
        with pytest.raises(WorkloadError, match="outside the directories"):
            written(**OF_TRACE, source={"kind": "trace", "format": "splitwise", "path": path})


def test_a_file_that_is_not_there_is_an_error(written: Callable[..., Any]) -> None:
    with pytest.raises(WorkloadError, match=r"nowhere\.jsonl is not there"):
        written(
            source={"kind": "prompt_file", "path": "nowhere.jsonl"},
            prefill_lengths=None,
            num_requests=None,
        )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["workload.arrivals.rate_per_s=0"], "rate_per_s"),
        (["+workload.duration_s=5"], "num_requests and duration_s exclude"),
        (["workload.workload_id=../up"], "workload_id"),
        (["workload.arrivals.kind=psson"], "psson"),
        (
            ["+workload.prefill_lengths={kind: fixed, tokens: 3}"],
            "prefill_lengths is for a synthetic source",
        ),
    ],
)
def test_a_preset_that_makes_no_sense_is_an_error_that_names_the_field(
    overrides: list[str], message: str
) -> None:
    with pytest.raises(PresetError) as caught:
        compose(["workload=chat_poisson", *overrides])
    assert message in str(caught.value)


def test_two_writers_of_one_workload_do_not_mix(
    written: Callable[..., Any], config_of: Callable[..., Any]
) -> None:
    from gpu_timing_assets.core.directories import atomic_directory

    out = config_of().data.workload_dir("tiny")
    with pytest.raises(GpuTimingError), atomic_directory(out):  # noqa: PT012
        with pytest.raises(BusyError):
            written()
        raise GpuTimingError("the first writer fails as well")
    assert not out.exists()

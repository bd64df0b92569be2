"""Whatever bytes a table holds: it is read as it was meant, or refused by its file."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.files import read_json
from gpu_timing_assets.core.tables.invariants import read_run_tables
from gpu_timing_assets.core.tables.run_tables import run_tables_from_token_times
from gpu_timing_assets.core.tables.schemas import REQUEST_METRICS, TOKEN_METRICS, TRACE_LENGTHS

FILES = (REQUEST_METRICS.file, TOKEN_METRICS.file)


def good_tables() -> dict[str, bytes]:
    lengths = pd.DataFrame(
        {"request_id": [0, 1], "num_prefill_tokens": [8, 9], "num_decode_tokens": [2, 3]}
    )
    owner, times = [0, 0, 1, 1, 1], [10, 20, 25, 35, 45]
    tables = run_tables_from_token_times(
        lengths, pd.array([0, 5]).to_numpy(), pd.array(owner).to_numpy(), pd.array(times).to_numpy()
    )
    with tempfile.TemporaryDirectory() as folder:
        for table, frame in zip((REQUEST_METRICS, TOKEN_METRICS), tables, strict=True):
            table.write(frame, Path(folder))
        return {name: Path(folder, name).read_bytes() for name in FILES}


GOOD = good_tables()
JSON_LIKE = st.text(alphabet='[]{}:,"0e\\\\ud8', max_size=40)


@st.composite
def spoilt(draw: st.DrawFn) -> dict[str, bytes]:
    """One file with some of its bytes replaced by others."""
    name = draw(st.sampled_from(FILES))
    content = GOOD[name]
    begin = draw(st.integers(0, len(content)))
    end = draw(st.integers(begin, min(begin + 40, len(content))))
    cells = st.sampled_from([b"", b",", b"\n", b"-1", b"1e9", b"nan", b"9" * 25, b"\0", b"\xff"])
    return {**GOOD, name: content[:begin] + draw(cells | st.binary(max_size=9)) + content[end:]}


def attempt(read: Callable[[], Any]) -> tuple[Any, str | None]:
    """`(result, None)`, or `(None, why it was refused)`."""
    try:
        return read(), None
    except ArtifactError as error:
        return None, str(error)


@settings(max_examples=300, deadline=None)
@given(files=spoilt())
def test_a_spoilt_run_is_refused_by_its_file_or_keeps_what_must_hold(
    files: dict[str, bytes],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            Path(folder, name).write_bytes(content)
        read, refusal = attempt(lambda: read_run_tables(Path(folder)))
    if refusal:
        assert any(name in refusal for name in FILES)
        return
    requests, tokens = read
    assert (requests["ttft_ns"].dropna() >= 0).all()
    assert (tokens["token_latency_ns"].dropna() >= 0).all()
    assert len(tokens) == requests["num_decode_tokens_actual"].sum()


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=60) | JSON_LIKE.map(str.encode))
def test_any_bytes_are_json_or_refused_by_their_file(content: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        Path(file.name).write_bytes(content)
        refusal = attempt(lambda: read_json(Path(file.name)))[1]
        assert refusal is None or file.name in refusal


@pytest.mark.parametrize("cell", ["1.5", "x", "-1", "", "9" * 25, str(2**63)])
def test_a_cell_that_is_no_count_is_refused_by_row(tmp_path: Path, cell: str) -> None:
    header = ",".join(TRACE_LENGTHS.column_names)
    (tmp_path / TRACE_LENGTHS.file).write_text(f"{header}\n0,p,8,4\n1,p,{cell},4\n")
    with pytest.raises(ArtifactError, match=r"trace_lengths.csv, row 3: num_prefill_tokens"):
        TRACE_LENGTHS.read(tmp_path)

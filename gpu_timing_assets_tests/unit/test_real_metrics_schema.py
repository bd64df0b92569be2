"""The tables of a run: what a reader accepts, and that every fault is named with its file and
row.
"""

import gzip
import lzma

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.tables.invariants import read_run_tables
from gpu_timing_assets.core.tables.schemas import REQUEST_METRICS, TOKEN_METRICS
from gpu_timing_assets_tests.unit.compare.synthetic_runs import MS, tables, write_run

ARRIVALS = [0, 10 * MS, 20 * MS]
TIMES = [[5 * MS, 6 * MS, 8 * MS], [15 * MS, 19 * MS], [30 * MS]]


@pytest.fixture
def run_dir(tmp_path):
    return write_run(tmp_path / "run", ARRIVALS, TIMES)


def test_columns_are_those_of_the_interface_in_order(run_dir) -> None:
    header = (run_dir / "request_metrics.csv").read_text().splitlines()[0]
    assert header == (
        "request_id,arrival_time_ns,first_token_time_ns,ttft_ns,completion_time_ns,num_prefill_tokens,"
        "num_decode_tokens,num_decode_tokens_actual,status"
    )
    assert (run_dir / "token_metrics.csv").read_text().splitlines()[:3] == [
        "request_id,token_index,token_time_ns,token_latency_ns",
        "0,0,5000000,",
        "0,1,6000000,1000000",
    ]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 10**12), min_size=0, max_size=5), min_size=1, max_size=6))
def test_what_is_written_is_read_back(tmp_path_factory, gaps) -> None:
    times = [np.cumsum(row).tolist() for row in gaps]
    requests, tokens = tables([0] * len(times), times)
    directory = tmp_path_factory.mktemp("run")
    REQUEST_METRICS.write(requests, directory)
    TOKEN_METRICS.write(tokens, directory)
    read_requests, read_tokens = read_run_tables(directory)
    assert read_requests["num_decode_tokens_actual"].tolist() == [len(row) for row in times]
    assert read_requests["status"].tolist() == ["ok" if row else "error" for row in times]
    assert read_tokens["token_time_ns"].tolist() == [time for row in times for time in row]


@pytest.mark.parametrize(("suffix", "compress"), [("gz", gzip.compress), ("xz", lzma.compress)])
def test_compressed_tables_in_any_row_order_are_read_alike(run_dir, suffix, compress) -> None:
    expected = read_run_tables(run_dir)
    for name in ("request_metrics.csv", "token_metrics.csv"):
        header, *rows = (run_dir / name).read_text().splitlines()
        (run_dir / name).unlink()
        (run_dir / f"{name}.{suffix}").write_bytes(
            compress(("\n".join([header, *reversed(rows)]) + "\n").encode())
        )
    for one, two in zip(expected, read_run_tables(run_dir), strict=True):
        pd.testing.assert_frame_equal(one, two)


def test_a_broken_compressed_table_is_named(run_dir) -> None:
    (run_dir / "token_metrics.csv").rename(run_dir / "token_metrics.csv.xz")
    with pytest.raises(ArtifactError, match="token_metrics.csv.xz: not a readable CSV file"):
        read_run_tables(run_dir)


REQUESTS, TOKENS = "request_metrics.csv", "token_metrics.csv"
REQUEST_ROW = "1,10000000,15000000,5000000,19000000,9,2,2,ok"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            REQUESTS,
            REQUEST_ROW,
            REQUEST_ROW.replace("ok", "done"),
            "row 3: request 1: status is neither",
        ),
        (REQUESTS, REQUEST_ROW, f"0{REQUEST_ROW[1:]}", "row 3: request 0: appears twice"),
        (
            REQUESTS,
            REQUEST_ROW,
            REQUEST_ROW.replace(",5000000", ",6000000"),
            "row 3: request 1: ttft_ns is not",
        ),
        (
            REQUESTS,
            REQUEST_ROW,
            REQUEST_ROW.replace("9,2,2", "9,2,0"),
            "row 3: request 1: is ok but has no token",
        ),
        (
            REQUESTS,
            REQUEST_ROW,
            REQUEST_ROW.replace("9,2,2", "9,3,3"),
            "row 3: request 1: num_decode_tokens_actual",
        ),
        (
            REQUESTS,
            REQUEST_ROW,
            REQUEST_ROW.replace("15000000,5000000", ",5000000"),
            "row 3: .*first_token_time_ns",
        ),
        (
            REQUESTS,
            REQUEST_ROW,
            REQUEST_ROW.replace("19000000", ""),
            "row 3: request 1: is ok but has no completion",
        ),
        (
            REQUESTS,
            REQUEST_ROW,
            REQUEST_ROW.replace("19000000", "NaN"),
            "row 3: completion_time_ns is 'NaN', not a",
        ),
        (
            REQUESTS,
            REQUEST_ROW,
            REQUEST_ROW.replace("19000000", "18000000"),
            "row 3: request 1: completion_time_ns is",
        ),
        (
            REQUESTS,
            REQUEST_ROW,
            "1,10000000,9000000,-1000000,19000000,9,2,2,ok",
            "row 3: ttft_ns is below 0",
        ),
        (REQUESTS, "10000000,1", "soon,1", "row 3: arrival_time_ns is 'soon', not a whole number"),
        (
            REQUESTS,
            "10000000,1",
            "10000000.5,1",
            "row 3: arrival_time_ns is '10000000.5', not a whole number",
        ),
        (REQUESTS, "10000000,1", ",1", "row 3: arrival_time_ns is empty"),
        (REQUESTS, "status", "state", "column 'status' is missing"),
        (REQUESTS, "arrival_time_ns,", "arrival_time_ns,speed,", "column 'speed' is not one of"),
        (
            TOKENS,
            "0,2,8000000,2000000\n",
            "",
            "row 2: request 0: num_decode_tokens_actual is not its number",
        ),
        (
            TOKENS,
            "0,2,8000000,2000000",
            "0,3,8000000,2000000",
            "row 4: request 0: token_index is not contiguous",
        ),
        (
            TOKENS,
            "0,2,8000000,2000000",
            "0,2,5500000,-500000",
            "row 4: token_latency_ns is below 0",
        ),
        (
            TOKENS,
            "0,2,8000000,2000000",
            "0,2,5500000,500000",
            "row 4: request 0: token_time_ns decreases",
        ),
        (
            TOKENS,
            "0,2,8000000,2000000",
            "0,2,8000000,1",
            "row 4: request 0: token_latency_ns is not the time since",
        ),
        (
            TOKENS,
            "0,2,8000000,2000000",
            "0,2,8000000,",
            "row 4: request 0: token_latency_ns must be empty for token 0",
        ),
        (
            TOKENS,
            "2,0,30000000,",
            "7,0,30000000,",
            "request 2: num_decode_tokens_actual is not its number",
        ),
        (
            TOKENS,
            "0,0,5000000,",
            "0,0,4000000,",
            "row 3: request 0: token_latency_ns is not the time since",
        ),
    ],
)
def test_every_fault_is_named_with_file_and_row(run_dir, file, old, new, message) -> None:
    text = (run_dir / file).read_text()
    assert old in text
    (run_dir / file).write_text(text.replace(old, new, 1))
    with pytest.raises(ArtifactError, match=rf"(request|token)_metrics\.csv.*{message}"):
        read_run_tables(run_dir)


@pytest.mark.parametrize("file", ["request_metrics.csv", "token_metrics.csv"])
def test_a_missing_or_unreadable_file_is_named(run_dir, file) -> None:
    (run_dir / file).write_bytes(b"\xff\xfe\x00binary")
    with pytest.raises(ArtifactError, match=file):
        read_run_tables(run_dir)
    (run_dir / file).unlink()
    with pytest.raises(ArtifactError, match=rf"{file} is missing"):
        read_run_tables(run_dir)


def test_a_failed_request_needs_no_times_and_has_no_tokens(tmp_path) -> None:
    directory = write_run(tmp_path / "run", ARRIVALS, [TIMES[0], [], TIMES[2]], planned=[3, 2, 1])
    requests, tokens = read_run_tables(directory)
    assert requests["status"].tolist() == ["ok", "error", "ok"]
    assert requests["first_token_time_ns"].isna().tolist() == [False, True, False]
    assert set(tokens["request_id"]) == {0, 2}


def test_a_million_tokens_are_read_in_seconds(tmp_path) -> None:
    import time

    directory = write_run(
        tmp_path / "run", [0] * 1000, [np.arange(1, 1001) * MS] * 1000, with_steps=False
    )
    begun = time.perf_counter()
    _, tokens = read_run_tables(directory)
    assert len(tokens) == 1_000_000
    assert time.perf_counter() - begun < 10

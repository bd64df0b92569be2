"""Alignment: which requests and tokens of which run are compared, and the latencies made from
them.
"""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_timing_assets.compare.gate.align import align
from gpu_timing_assets.compare.gate.completeness import excluded_requests
from gpu_timing_assets.compare.gate.load import load_run
from gpu_timing_assets.core.errors import ArtifactError, IncomparableRunsError
from gpu_timing_assets.core.run import RealRunMeta, SimRunMeta, read_complete_run
from gpu_timing_assets.metrics.e2e import e2e_ms
from gpu_timing_assets.metrics.itl import itl_ms
from gpu_timing_assets.metrics.tpot import tpot_ms
from gpu_timing_assets.metrics.ttft import ttft_ms
from gpu_timing_assets_tests.unit.compare.synthetic_runs import (
    MS,
    run_in_memory,
    write_run,
)

ARRIVALS = [0, 10 * MS, 20 * MS]
TIMES = [[5 * MS, 6 * MS, 8 * MS], [15 * MS, 19 * MS], [30 * MS]]


def test_simulated_tokens_beyond_an_early_stop_are_cut() -> None:
    simulated_times = [
        [7 * MS, 9 * MS, 11 * MS, 99 * MS],
        [20 * MS, 25 * MS, 99 * MS],
        [40 * MS, 99 * MS],
    ]
    aligned = align(
        [run_in_memory("real", ARRIVALS, TIMES, planned=[4, 3, 2])],
        [
            run_in_memory(
                "engine", ARRIVALS, simulated_times, run_type="simulated", planned=[4, 3, 2]
            )
        ],
    )
    simulated = aligned.simulation("engine")
    assert aligned.grid.tokens.tolist() == [3, 2, 1]
    assert ttft_ms(simulated).tolist() == [7, 10, 20]
    assert e2e_ms(simulated).tolist() == [11, 15, 20]
    assert itl_ms(simulated).tolist() == [2, 2, 5]
    np.testing.assert_array_equal(tpot_ms(simulated), [2, 5, np.nan])


def test_repeats_that_stopped_at_different_tokens_are_cut_to_the_fewest() -> None:
    one = run_in_memory("real-0", ARRIVALS, TIMES, planned=[3, 3, 3])
    two = run_in_memory(
        "real-1",
        ARRIVALS,
        [[5 * MS], [15 * MS, 19 * MS, 22 * MS], [30 * MS, 31 * MS]],
        planned=[3, 3, 3],
    )
    simulated = run_in_memory(
        "engine",
        ARRIVALS,
        [[MS * t for t in (40, 41, 42)]] * 3,
        run_type="simulated",
        planned=[3, 3, 3],
    )
    aligned = align([one, two], [simulated])
    assert aligned.grid.tokens.tolist() == [1, 2, 1]
    assert all(len(series.token_time_ns) == 4 for series in (*aligned.real, *aligned.simulated))


def test_a_request_that_failed_in_the_real_run_is_listed_and_left_out_of_both() -> None:
    aligned = align(
        [run_in_memory("real", ARRIVALS, [TIMES[0], [], TIMES[2]], planned=[3, 2, 1])],
        [run_in_memory("engine", ARRIVALS, TIMES, run_type="simulated")],
    )
    assert aligned.grid.request_id.tolist() == [0, 2]
    assert ttft_ms(aligned.simulation("engine")).tolist() == [5, 10]
    assert excluded_requests(aligned)[["request_id", "run_id", "side"]].values.tolist() == [
        [1, "real", "real"]
    ]


@st.composite
def _runs(draw: st.DrawFn) -> tuple[list[int], list[list[list[int]]], list[int]]:
    """Arrivals, token times of two real runs and a simulation, planned tokens; with ties,
    one-token, failed requests.
    """
    planned = draw(st.lists(st.integers(1, 6), min_size=1, max_size=6))
    arrivals = np.cumsum(
        draw(st.lists(st.integers(0, 20), min_size=len(planned), max_size=len(planned)))
    ).tolist()
    runs = []
    for side in ("real", "real", "simulated"):
        times = []
        for arrival, count in zip(arrivals, planned, strict=True):
            made = count if side == "simulated" else draw(st.integers(0, count))
            gaps = draw(st.lists(st.sampled_from([0, 0, 1, 7, 1000]), min_size=made, max_size=made))
            times.append((arrival + np.cumsum(gaps)).tolist())
        runs.append(times)
    return arrivals, runs, planned


@settings(max_examples=80, deadline=None)
@given(_runs())
def test_latencies_are_those_of_the_definition(
    case: tuple[list[int], list[list[list[int]]], list[int]],
) -> None:
    arrivals, times, planned = case
    real = [run_in_memory(f"real-{k}", arrivals, times[k], planned=planned) for k in (0, 1)]
    simulated = run_in_memory("engine", arrivals, times[2], run_type="simulated", planned=planned)
    kept = [i for i in range(len(planned)) if times[0][i] and times[1][i]]
    if not kept:
        with pytest.raises(ArtifactError, match="no request finished in every run of"):
            align(real, [simulated])
        return
    aligned = align(real, [simulated])
    assert aligned.grid.request_id.tolist() == kept
    assert set(excluded_requests(aligned)["request_id"]) == set(range(len(planned))) - set(kept)
    for series, own in zip((*aligned.real, *aligned.simulated), times, strict=True):
        cut = [own[i][: min(len(times[0][i]), len(times[1][i]))] for i in kept]
        assert ttft_ms(series).tolist() == [
            (row[0] - arrivals[i]) / 1e6 for i, row in zip(kept, cut, strict=True)
        ]
        assert e2e_ms(series).tolist() == [
            (row[-1] - arrivals[i]) / 1e6 for i, row in zip(kept, cut, strict=True)
        ]
        assert itl_ms(series).tolist() == [
            (b - a) / 1e6 for row in cut for a, b in itertools.pairwise(row)
        ]
        expected = [
            (row[-1] - row[0]) / (len(row) - 1) / 1e6 if len(row) > 1 else np.nan for row in cut
        ]
        np.testing.assert_allclose(tpot_ms(series), expected, rtol=1e-12)
        assert len(itl_ms(series)) == len(aligned.grid.interval_owner)


@pytest.mark.parametrize(
    ("arrivals", "times", "planned", "message"),
    [
        (
            ARRIVALS[:2],
            TIMES[:2],
            None,
            r"real.request_metrics.csv, row 4: request 2: is not in .*sim.request_metrics.csv",
        ),
        (
            [0, 11 * MS, 20 * MS],
            TIMES,
            None,
            r"sim.request_metrics.csv, row 3: request 1: arrival_time_ns is 11000000, but 1",
        ),
        (
            ARRIVALS,
            TIMES,
            [3, 2, 5],
            r"sim.request_metrics.csv, row 4: request 2: num_decode_tokens is 5, but 1 in",
        ),
        (
            ARRIVALS,
            [TIMES[0][:2], *TIMES[1:]],
            [3, 2, 1],
            r"sim.request_metrics.csv, row 2: request 0: has 2 tokens where",
        ),
        (
            [*ARRIVALS, 30 * MS],
            [*TIMES, [40 * MS]],
            None,
            r"sim.request_metrics.csv, row 5: request 3: is not in",
        ),
    ],
)
def test_runs_of_other_work_are_refused_with_file_and_row(
    tmp_path, arrivals, times, planned, message
) -> None:
    write_run(tmp_path / "real", ARRIVALS, TIMES)
    write_run(tmp_path / "sim", arrivals, times, run_type="simulated", planned=planned)
    real = load_run(tmp_path / "real", read_complete_run(tmp_path / "real", RealRunMeta), "real")
    simulated = load_run(
        tmp_path / "sim", read_complete_run(tmp_path / "sim", SimRunMeta), "engine"
    )
    with pytest.raises(IncomparableRunsError) as refused:
        align([real], [simulated])
    assert re.search(message, str(refused.value)), refused.value


def test_the_row_named_is_the_files_row_even_where_the_file_is_not_sorted(tmp_path) -> None:
    write_run(tmp_path / "real", ARRIVALS, TIMES)
    write_run(tmp_path / "sim", [0, 11 * MS, 20 * MS], TIMES, run_type="simulated")
    path = tmp_path / "sim" / "request_metrics.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *reversed(rows)]) + "\n")
    real = load_run(tmp_path / "real", read_complete_run(tmp_path / "real", RealRunMeta), "real")
    with pytest.raises(IncomparableRunsError, match=r"row 3: request 1: arrival_time_ns"):
        align(
            [real],
            [load_run(tmp_path / "sim", read_complete_run(tmp_path / "sim", SimRunMeta), "engine")],
        )

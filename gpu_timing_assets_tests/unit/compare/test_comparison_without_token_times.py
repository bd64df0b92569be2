"""A simulator that knows when a request begins and ends to answer, and nothing in between."""

import pandas as pd
import pytest

from gpu_timing_assets.compare import ComparisonInputs, error_table_markdown, run
from gpu_timing_assets.compare.gate.load import load_run
from gpu_timing_assets.core.comparison import UNDEFINED
from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets_tests.unit.compare.synthetic_runs import (
    MS,
    configuration,
    forget_token_times,
    scaled,
    served,
    sim_meta,
    write_run,
)


@pytest.fixture
def result(tmp_path):
    arrivals, times = served(requests=20)
    late = scaled(arrivals, times, 1.1)
    simulated = [
        write_run(tmp_path / name, arrivals, late, run_type="simulated", predictor=name)
        for name in ("engine_loop", "coarse")
    ]
    forget_token_times(simulated[1])
    real = write_run(tmp_path / "real", arrivals, times)
    return run(configuration(), ComparisonInputs((real,), tuple(simulated)), tmp_path / "out")


def test_what_needs_token_times_is_undefined_for_it_and_nothing_else_is(result) -> None:
    rows = {(row.simulation, row.metric, row.statistic): row for row in result.verdicts}
    for (simulation, metric, _), row in rows.items():
        assert (row.verdict == UNDEFINED) == (simulation == "coarse" and metric == "ITL")
    for key in (("TTFT", "p99"), ("TPOT", "mean"), ("E2E", "p50"), ("goodput", "rate")):
        assert rows["coarse", *key].error_pct == rows["engine_loop", *key].error_pct
    assert rows["coarse", "throughput", "rate"].simulated == pytest.approx(
        rows["engine_loop", "throughput", "rate"].simulated
    )


def test_a_note_says_so(result) -> None:
    [note] = [note for note in result.notes if note.startswith("coarse")]
    assert note.endswith("first and last token: ITL of it is undefined")
    assert "| coarse | ITL | p50 |" in error_table_markdown(result)
    distances = pd.read_csv(result.tables["distances"])
    assert len(distances[distances["metric"] == "ITL"]) == 1


def test_tokens_in_between_stand_at_even_distances(tmp_path) -> None:
    directory = write_run(tmp_path / "sim", [0, 0], [[1 * MS, 2 * MS, 9 * MS], [4 * MS]])
    (directory / "token_metrics.csv").unlink()
    meta = sim_meta("sim", gives=(), num_tokens=4, simulated_s=0.009)
    loaded = load_run(directory, meta, "sim")
    assert loaded.tokens["token_time_ns"].tolist() == [1 * MS, 5 * MS, 9 * MS, 4 * MS]


def test_a_request_that_ends_before_it_begins_is_refused_with_its_row(tmp_path) -> None:
    directory = write_run(tmp_path / "sim", [0], [[5 * MS, 6 * MS]])
    path = directory / "request_metrics.csv"
    path.write_text(path.read_text().replace("6000000", "4000000"))
    with pytest.raises(ArtifactError, match=r"row 2: request 0: completion_time_ns is before"):
        load_run(directory, sim_meta("sim", gives=()), "sim")

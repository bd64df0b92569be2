"""The files of a run are those of one run, and those that were filed, or nothing is compared."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from gpu_timing_assets.compare import ComparisonInputs, load_result, run
from gpu_timing_assets.compare.gate.load import Run, load_run
from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.files import read_json, write_json
from gpu_timing_assets.core.manifest import write_manifest
from gpu_timing_assets.core.run import RUN_META_FILE, RealRunMeta, SimRunMeta, read_complete_run
from gpu_timing_assets.core.tables.schemas import (
    ENGINE_BATCHES,
    ENGINE_STEPS,
    REQUEST_METRICS,
    TOKEN_METRICS,
)
from gpu_timing_assets.core.tables.table import Table
from gpu_timing_assets_tests.unit.compare.synthetic_runs import (
    MS,
    configuration,
    scaled,
    served,
    write_run,
)

TIMES = ("first_token_time_ns", "completion_time_ns")


def edit(directory: Path, table: Table, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    table.write(change(table.read(directory)), directory)


def shift(directory: Path, by_ns: int, *, arrivals: bool) -> None:
    """All that the client saw, and not the steps."""
    moved = (*TIMES, "arrival_time_ns") if arrivals else (*TIMES, "ttft_ns")
    edit(
        directory,
        REQUEST_METRICS,
        lambda requests: requests.assign(**{name: requests[name] + by_ns for name in moved}),
    )
    edit(
        directory,
        TOKEN_METRICS,
        lambda tokens: tokens.assign(token_time_ns=tokens["token_time_ns"] + by_ns),
    )


def state(directory: Path, **facts: object) -> None:
    path = directory / RUN_META_FILE
    write_json(path, {**read_json(path), **facts})


def load(directory: Path) -> Run:
    kind = SimRunMeta if directory.name == "simulated" else RealRunMeta
    return load_run(directory, read_complete_run(directory, kind), "it")


@pytest.fixture
def real(tmp_path: Path) -> Path:
    return write_run(tmp_path / "real", *served(requests=6))


@pytest.fixture
def simulated(tmp_path: Path) -> Path:
    return write_run(tmp_path / "simulated", *served(requests=6), run_type="simulated")


def test_steps_that_were_cut_short_are_refused(real) -> None:
    edit(real, ENGINE_STEPS, lambda steps: steps.iloc[:-2])
    with pytest.raises(ArtifactError, match=r"engine_steps\.csv has no step \d+"):
        load(real)


def test_batches_that_were_cut_short_are_refused(real) -> None:
    last = ENGINE_STEPS.read(real)["step"].max()
    edit(real, ENGINE_BATCHES, lambda batches: batches[batches["step"] < last])
    with pytest.raises(ArtifactError, match=rf"engine_batches\.csv has no step {last}"):
        load(real)


def test_steps_and_batches_that_were_cut_short_together_are_refused(real) -> None:
    last = ENGINE_STEPS.read(real)["step"].max()
    for table in (ENGINE_STEPS, ENGINE_BATCHES):
        edit(real, table, lambda rows: rows[rows["step"] < last])
    with pytest.raises(ArtifactError, match=r"request \d: its last token was made in no recorded"):
        load(real)


def test_a_simulations_steps_are_as_many_as_it_says(simulated) -> None:
    state(simulated, num_steps=len(ENGINE_STEPS.read(simulated)) + 1)
    with pytest.raises(ArtifactError, match=r"its tables have num_steps \d+, its run_meta.json"):
        load(simulated)


@pytest.mark.parametrize("fact", ["num_tokens", "num_requests", "num_failed"])
def test_a_real_runs_tables_are_of_the_size_it_says(real, fact) -> None:
    state(real, **{fact: 99})
    with pytest.raises(ArtifactError, match=rf"its tables have {fact} \d+, its run_meta.json says"):
        load(real)


def test_a_last_token_later_than_the_completion_is_refused(real) -> None:
    early = REQUEST_METRICS.read(real)
    early["completion_time_ns"] = early["first_token_time_ns"]
    REQUEST_METRICS.write(early, real)
    with pytest.raises(ArtifactError, match="completion_time_ns is before its last token"):
        load(real)


def test_a_simulation_that_was_shifted_does_not_last_as_long_as_it_says(simulated) -> None:
    shift(simulated, 1, arrivals=False)
    with pytest.raises(ArtifactError, match="its tables have simulated_s"):
        load(simulated)


@pytest.mark.parametrize(
    ("by_ns", "message"),
    [
        (10_000 * MS, "it was scheduled before it arrived"),
        (-1, "its last token came before the step that made it ended"),
    ],
)
@pytest.mark.parametrize("side", ["real", "simulated"])
def test_a_run_that_was_shifted_against_its_steps_is_refused(request, side, by_ns, message) -> None:
    directory = request.getfixturevalue(side)
    shift(directory, by_ns, arrivals=by_ns > 0)
    if side == "simulated":
        last_ns = REQUEST_METRICS.read(directory)["completion_time_ns"].max()
        state(directory, simulated_s=float(last_ns) / 1e9)
    with pytest.raises(ArtifactError, match=message):
        load(directory)


def test_a_simulation_of_recorded_batches_has_steps_on_a_clock_of_their_own(simulated) -> None:
    shift(simulated, 10_000 * MS, arrivals=True)
    last_ns = REQUEST_METRICS.read(simulated)["completion_time_ns"].max()
    state(simulated, simulated_s=float(last_ns) / 1e9, substitution="recorded_batches")
    assert load(simulated).substitution == "recorded_batches"


@pytest.fixture
def filed(real, simulated) -> ComparisonInputs:
    """Both sides as a stage files them: with a manifest."""
    for directory in (real, simulated):
        write_manifest(directory)
    return ComparisonInputs((real,), (simulated,))


@pytest.mark.parametrize("table", [REQUEST_METRICS, TOKEN_METRICS, ENGINE_STEPS, ENGINE_BATCHES])
def test_the_tables_of_a_run_that_did_as_much_under_anothers_metadata_are_refused(
    filed, tmp_path, table
) -> None:
    arrivals, times = served(requests=6)
    other = write_run(tmp_path / "other", arrivals, scaled(arrivals, times, 1.4))
    (filed.real_run_dirs[0] / table.file).write_bytes((other / table.file).read_bytes())
    with pytest.raises(ArtifactError, match=f"real/{table.file} is not the file that was filed"):
        run(configuration(), filed, tmp_path / "out")


def test_metadata_that_were_edited_are_refused(filed, tmp_path) -> None:
    state(filed.real_run_dirs[0], early_stopping=True)
    with pytest.raises(ArtifactError, match="real/run_meta.json is not the file that was filed"):
        run(configuration(), filed, tmp_path / "out")


def test_verdicts_that_were_edited_are_refused(filed, tmp_path) -> None:
    run(configuration(), filed, tmp_path / "out")
    table = tmp_path / "out" / "tables" / "verdict.csv"
    table.write_text(table.read_text().replace("fail", "pass").replace("warn", "pass") + "\n")
    with pytest.raises(ArtifactError, match=r"verdict\.csv is not the file that was filed"):
        load_result(tmp_path / "out")

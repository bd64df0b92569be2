"""What a comparison leaves on disk: the same for the same inputs, whole or not there, and readable
without a network.
"""

import csv
import json
import os
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from gpu_timing_assets.compare import (
    ComparisonInputs,
    check_outcomes,
    error_table_markdown,
    load_result,
    run,
)
from gpu_timing_assets.compare.checks import check_names
from gpu_timing_assets.core.errors import ArtifactError, GpuTimingError
from gpu_timing_assets.core.manifest import MANIFEST_FILE
from gpu_timing_assets_tests.unit.compare.synthetic_runs import (
    configuration,
    scaled,
    served,
    write_run,
)

HOSTILE = "</script><img src=x onerror=alert(1)>"
OF_THE_BUNDLE = {
    "bundle_measured_at": "2026-01-01T00:00:00Z",
    "self_test_error_pct": {"ITL p50": 1.25, "TTFT p90": -8.0},
    "prediction_spread_pct": {"ITL p50": 1.5, "TTFT p90": 4.0},
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> ComparisonInputs:
    """Two real runs, one of which lost a request, three simulations, and two with a part
    substituted.
    """
    root = tmp_path_factory.mktemp("runs")
    arrivals, times = served(requests=30)
    _, again = served(requests=30, jitter_seed=1)
    planned = [len(row) for row in times]
    again[7] = []
    real = (
        write_run(root / "real-0", arrivals, times),
        write_run(root / "real-1", arrivals, again, planned=planned),
    )
    simulated = []
    for predictor, substitution, factor in (
        ("engine_loop", None, 1.04),
        ("kernels_only", None, 0.5),
        ("random_forest", None, 0.3),
        ("engine_loop", "recorded_batches", 1.03),
        ("engine_loop", "recorded_step_times", 1.01),
    ):
        name = f"sim-{predictor}-{substitution or 'plain'}"
        simulated.append(
            write_run(
                root / name.replace("_", "-"),
                arrivals,
                scaled(arrivals, times, factor),
                run_type="simulated",
                predictor=HOSTILE if predictor == "random_forest" else predictor,
                substitution=substitution,
                extrapolated=predictor == "random_forest",
                **(OF_THE_BUNDLE if predictor == "engine_loop" else {}),
            )
        )
    return ComparisonInputs(real, tuple(simulated))


@pytest.fixture(scope="module")
def result(inputs, tmp_path_factory):
    return run(configuration(), inputs, tmp_path_factory.mktemp("one") / "chat")


def test_the_same_inputs_give_the_same_bytes_in_another_process(inputs, result, tmp_path) -> None:
    code = (
        "import sys; from pathlib import Path; from gpu_timing_assets.compare import "
        "ComparisonInputs, run\n"
        "from gpu_timing_assets_tests.unit.compare.synthetic_runs import configuration\n"
        "real, simulated = (tuple(map(Path, side.split(':'))) for side in sys.argv[1:3])\n"
        "run(configuration(), ComparisonInputs(real, simulated), Path(sys.argv[3]))"
    )
    sides = [":".join(map(str, side)) for side in (inputs.real_run_dirs, inputs.sim_run_dirs)]
    subprocess.run(
        [sys.executable, "-c", code, *sides, str(tmp_path / "chat")],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    for one in sorted(path for path in result.directory.rglob("*") if path.is_file()):
        relative = one.relative_to(result.directory)
        if relative.name not in ("run_meta.json", MANIFEST_FILE):
            assert one.read_bytes() == (tmp_path / "chat" / relative).read_bytes(), relative


def test_the_report_is_one_file_that_asks_no_network_and_escapes_what_it_shows(result) -> None:
    page = result.report.read_text()
    assert len(page) < 5 * 2**20
    assert page.count("window.vegaEmbed=") == 1
    own = re.sub(
        r"<script type=\"module\">\nconst n=.*?</script>", "", page, count=1, flags=re.DOTALL
    )
    assert len(own) < len(page) - 500_000
    assert not re.search(r"(src|href)=[\"'](?!#)", own)
    assert not re.search(r"@import|url\(|fetch\(", own)
    assert "<img" not in own
    assert "&lt;/script&gt;&lt;img" in own


def test_every_figure_is_there_as_page_picture_and_drawing(result) -> None:
    names = {
        "errors",
        "attribution",
        "cdf",
        "qq",
        "percentiles",
        "requests",
        "over_time",
        "grouped",
    }
    assert set(result.figures) == names
    for name in names:
        assert (result.directory / "figs" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (result.directory / "figs" / f"{name}.svg").read_text()[:500]
        assert f'id="chart-{name}"' in result.report.read_text()
        assert 'src="vega.js"' in (result.directory / "figs" / f"{name}.html").read_text()


def test_every_column_of_every_table_has_a_definition_and_back(result) -> None:
    with (result.directory / "tables" / "definitions.csv").open() as file:
        defined = {
            (row["table"], row["column"]) for row in csv.DictReader(file) if row["definition"]
        }
    found = set()
    for name, path in result.tables.items():
        with path.open() as file:
            found |= {(name, column) for column in next(csv.reader(file))}
    assert found == defined


def test_the_verdict_of_the_page_stands_in_the_table(result) -> None:
    primary = [row for row in result.verdicts if row.simulation == "engine_loop"]
    assert result.primary_simulation == "engine_loop"
    assert len(primary) == 22
    page = result.report.read_text()
    for row in primary:
        assert f"{row.error_pct:+.1f} %" in page
    assert {row.simulation for row in result.verdicts} == {
        *("engine_loop", "kernels_only", HOSTILE)
    }
    table = error_table_markdown(result)
    assert table.count("\n") == 2 + len(result.verdicts)
    assert sum(result.counts().values()) == 22


def test_the_noise_of_the_prediction_stands_beside_the_real_runs(result) -> None:
    known = {
        (row.simulation, row.metric, row.statistic): row.prediction_noise_pct
        for row in result.verdicts
        if row.prediction_noise_pct is not None
    }
    assert known == {("engine_loop", "ITL", "p50"): 1.5, ("engine_loop", "TTFT", "p90"): 4.0}
    assert result.report.read_text().count("<span>prediction noise 4.0 %</span>") == 1
    heading, _, *lines = error_table_markdown(result).splitlines()
    column = heading.split(" | ").index("prediction noise")
    assert [line.split(" | ")[column] for line in lines if "| ITL | p50 |" in line] == [
        *("1.5 %", "–", "–")
    ]


def test_the_report_says_once_how_the_bundle_simulates_what_it_was_not_fitted_on(result) -> None:
    said = (
        "the bundle simulates bursts that it was not fitted on with errors of ITL p50 +1.2 %, "
        "TTFT p90 -8.0 % (measured at 2026-01-01T00:00:00Z); two bundles of this machine predict "
        "these bursts within ITL p50 1.5 %, TTFT p90 4.0 %"
    )
    assert result.notes.count(said) == 1
    assert said in result.report.read_text()


def test_a_comparison_from_before_the_predictions_noise_was_known_is_read(result, tmp_path) -> None:
    ignored = shutil.ignore_patterns(MANIFEST_FILE)
    shutil.copytree(result.directory, tmp_path / "older", ignore=ignored)
    table = tmp_path / "older" / "tables" / "verdict.csv"
    pd.read_csv(table).drop(columns="prediction_noise_pct").to_csv(table, index=False)
    older = load_result(tmp_path / "older").verdicts
    assert [row.verdict for row in older] == [row.verdict for row in result.verdicts]
    assert {row.prediction_noise_pct for row in older} == {None}
    pd.read_csv(table).drop(columns="noise_pct").to_csv(table, index=False)
    with pytest.raises(
        ArtifactError, match=r"verdict\.csv: columns are .*: run compare-runs again"
    ):
        load_result(tmp_path / "older")


def test_failed_requests_are_listed_and_the_notes_say_so(result) -> None:
    assert (
        "request_id,run_id,side,reason\n7,real-1,real,failed"
        in result.tables["excluded_requests"].read_text()
    )
    assert any("1 request failed" in note for note in result.notes)
    assert any(
        f"{HOSTILE} reached beyond what its profiling bundle measured" in note
        for note in result.notes
    )


def test_attribution_and_batches_are_in_the_summary(result) -> None:
    summary = result.summary.read_text()
    assert "By layer: Largest share" in summary
    assert "The first batch that differs" in summary


def test_the_timeline_has_both_engines_on_one_clock(result) -> None:
    events = json.loads(result.timeline.read_text())["traceEvents"]
    assert {event["pid"] for event in events} == {1, 2}
    names = [event["args"]["name"] for event in events if event["name"] == "process_name"]
    assert names == ["real: real-0", "simulated: engine_loop"]
    for process in (1, 2):
        own = [event for event in events if event["pid"] == process]
        steps = [event for event in own if event["name"] == "decode step"]
        assert steps
        assert all(event["dur"] >= 0 for event in steps)
        assert re.fullmatch(r"\d+:1( \d+:1)*", steps[0]["args"]["batch"])
        opened = [event["id"] for event in own if event["ph"] == "b"]
        assert sorted(opened) == sorted(event["id"] for event in own if event["ph"] == "e")
        assert len(set(opened)) == 29
    arrivals = [
        {
            event["name"]: event["ts"]
            for event in events
            if event["ph"] == "b"
            and event["pid"] == process
            and event["name"].startswith("request")
        }
        for process in (1, 2)
    ]
    assert arrivals[0] == arrivals[1]


def test_checks_follow_the_verdict(result) -> None:
    outcomes = {outcome.name: outcome for outcome in check_outcomes(result)}
    assert tuple(outcomes) == tuple(check_names())
    for metric in ("TTFT", "ITL", "TPOT", "E2E", "throughput", "goodput"):
        verdicts = {
            row.verdict
            for row in result.verdicts
            if (row.simulation, row.metric) == ("engine_loop", metric)
        }
        outcome = outcomes[f"{metric.lower()}_error"]
        assert outcome.passed == (not verdicts & {"warn", "fail"})
        assert outcome.severity == ("error" if "fail" in verdicts or outcome.passed else "warn")
    assert outcomes["parity"].passed
    assert not outcomes["real_runs_complete"].passed
    assert outcomes["real_runs_complete"].severity == "warn"
    assert outcomes["simulations_complete"].passed
    json.dumps([outcome.metadata for outcome in outcomes.values()])


def test_what_is_read_back_is_what_was_returned(result) -> None:
    assert load_result(result.directory) == result


def damage(directory, file, old, new) -> None:
    text = (directory / file).read_text()
    assert old in text
    (directory / file).write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("token_metrics.csv", "\n0,0,", "\n0,5,"),
        ("request_metrics.csv", ",ok\n", ",OK\n"),
        ("run_meta.json", '"status": "complete"', '"status": "perhaps"'),
        ("engine_steps.csv", "kv_tokens", "tokens"),
        ("engine_batches.csv", "\n0,0,1,7", "\n0,0,0,7"),
    ],
)
def test_bad_input_names_its_file_and_leaves_what_was_there(
    result, tmp_path, file, old, new
) -> None:
    arrivals, times = served(requests=3)
    inputs = ComparisonInputs(
        (write_run(tmp_path / "real", arrivals, times),),
        (write_run(tmp_path / "sim", arrivals, times, run_type="simulated"),),
    )
    damage(tmp_path / "real", file, old, new)
    out = tmp_path / "out"
    with pytest.raises(ArtifactError, match=re.escape(str(tmp_path / "real" / file))):
        run(configuration(), inputs, out)
    assert not out.exists()
    out.mkdir()
    (out / "earlier").write_text("an earlier report")
    with pytest.raises(GpuTimingError):
        run(configuration(), inputs, out)
    assert (out / "earlier").read_text() == "an earlier report"
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == [
        "out",
        "real",
        "sim",
    ]


def test_one_request_of_one_token_gives_a_report(tmp_path) -> None:
    inputs = ComparisonInputs(
        (write_run(tmp_path / "real", [0], [[5_000_000]], with_steps=False),),
        (write_run(tmp_path / "sim", [0], [[5_000_000]], run_type="simulated", with_steps=False),),
    )
    result = run(configuration(), inputs, tmp_path / "out")
    assert {row.verdict for row in result.verdicts if row.metric in ("ITL", "TPOT")} == {
        "undefined"
    }
    assert "one real run" in " ".join(result.notes)
    assert result.report.stat().st_size > 0

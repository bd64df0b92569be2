"""The fidelity matrix: what state each comparison is in, and what stands on the page."""

import hashlib
import re

import pandas as pd
import pytest

from gpu_timing_assets.compare import VerdictRow, build_fidelity_matrix
from gpu_timing_assets.core.data_root import DataRoot
from gpu_timing_assets.core.files import read_json, write_json
from gpu_timing_assets.core.run import RUN_META_FILE
from gpu_timing_assets_tests.unit.compare.synthetic_runs import (
    comparison_meta,
    engine_params,
    meta_of,
    write_workload,
)

NAME = "chat--tiny--h100--vllm"


@pytest.fixture
def data(tmp_path) -> DataRoot:
    """One workload with two real runs, one simulation and a comparison of them."""
    root = DataRoot(tmp_path)
    write_workload(root)
    put(root, "real-0")
    put(root, "real-1")
    put(root, f"{NAME}--engine-loop", "simulated")
    compared(root)
    return root


def put(data: DataRoot, run_id: str, run_type: str = "real", **changes) -> None:
    directory = data.path / ("real_runs" if run_type == "real" else "vidur_runs") / run_id
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / RUN_META_FILE, meta_of(run_id, run_type, **changes))


def compared(data: DataRoot) -> None:
    runs = [
        *(data.path / "real_runs" / f"real-{k}" for k in (0, 1)),
        data.path / "vidur_runs" / f"{NAME}--engine-loop",
    ]
    directory = data.comparison_dir(NAME)
    (directory / "tables").mkdir(parents=True)
    (directory / "figs").mkdir()
    rows = [
        VerdictRow(
            "engine_loop", metric, name, unit, 10.0, 11.0, error, error - 1, error + 1, 2.0, verdict
        )
        for metric, name, unit, error, verdict in (
            ("TTFT", "p50", "ms", 10.0, "fail"),
            ("ITL", "p50", "ms", 1.0, "below noise"),
            ("E2E", "p50", "ms", 4.0, "pass"),
        )
    ]
    pd.DataFrame([vars(row) for row in rows]).to_csv(
        directory / "tables" / "verdict.csv", index=False
    )
    inputs = [
        {
            "path": str(run),
            "name": run.name,
            "run_meta_sha256": hashlib.sha256((run / RUN_META_FILE).read_bytes()).hexdigest(),
        }
        for run in runs
    ]
    write_json(
        directory / RUN_META_FILE,
        comparison_meta(
            NAME,
            primary_simulation="engine_loop",
            simulations=("engine_loop",),
            inputs=inputs,
            mean_running_requests=3.5,
            real_run_ids=("real-0", "real-1"),
        ),
    )


def rows(data: DataRoot) -> dict[str, dict]:
    return {
        row["comparison_id"]: row
        for row in build_fidelity_matrix(data, data.fidelity_matrix_dir).rows
    }


def test_a_comparison_of_what_is_there_is_current_and_linked(data) -> None:
    [row] = rows(data).values()
    assert (row["state"], row["why"]) == ("current", "")
    assert (row["passed"], row["below_noise"], row["failed"], row["real_runs"]) == (1, 1, 1, 2)
    assert row["ttft_p50_error_pct"] == 10
    assert row["ttft_p99_error_pct"] is None
    link = data.fidelity_matrix_dir / row["report"]
    assert link.resolve() == (data.comparison_dir(NAME) / "report.html").resolve()


def test_a_comparison_with_runs_from_elsewhere_is_current_as_long_as_they_are_as_they_were(
    data, tmp_path_factory
) -> None:
    elsewhere = DataRoot(tmp_path_factory.mktemp("reference"))
    meta_file = data.comparison_dir(NAME) / RUN_META_FILE
    meta = read_json(meta_file)
    for run, entry in zip(("real-0", "real-1"), meta["inputs"], strict=False):
        put(elsewhere, run)
        (data.path / "real_runs" / run / RUN_META_FILE).unlink()
        entry["path"] = str(elsewhere.path / "real_runs" / run)
    write_json(meta_file, meta)
    assert rows(data)[NAME]["state"] == "current"
    put(elsewhere, "real-1", ended_at="2027-01-01T00:00:00Z")
    assert "real-1 changed or went since" in rows(data)[NAME]["why"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda data: put(data, "real-2"), "real-2 came since"),
        (
            lambda data: put(data, f"{NAME}--forest", "simulated", predictor="random_forest"),
            "--forest came since",
        ),
        (
            lambda data: put(data, "real-1", ended_at="2027-01-01T00:00:00Z"),
            "real-1 changed or went since",
        ),
        (
            lambda data: (data.path / "real_runs" / "real-1" / RUN_META_FILE).unlink(),
            "real-1 changed or went since",
        ),
        (lambda data: write_workload(data, sha256="9" * 64), "would not be compared now"),
    ],
)
def test_a_comparison_of_what_changed_is_stale(data, change, why) -> None:
    change(data)
    row = rows(data)[NAME]
    assert row["state"] == "stale"
    assert why in row["why"]


def test_what_is_missing_says_what_to_run(data) -> None:
    put(data, "cpu-0", hardware="cpu")
    put(data, "chat--tiny--a100--vllm--engine-loop", "simulated", hardware="a100")
    put(data, "h200-0", hardware="h200")
    put(data, "chat--tiny--h200--vllm--engine-loop", "simulated", hardware="h200")
    found = rows(data)
    states = {row["hardware"]: (row["state"], row["why"]) for row in found.values()}
    assert states["cpu"][0] == states["a100"][0] == states["h200"][0] == "missing"
    assert "vidur-sim" in states["cpu"][1]
    assert "real-bench" in states["a100"][1]
    assert "compare-runs" in states["h200"][1]


def test_what_the_gate_refuses_is_refused_with_its_reason(data) -> None:
    put(data, "h200-0", hardware="h200")
    put(
        data,
        "chat--tiny--h200--vllm--engine-loop",
        "simulated",
        hardware="h200",
        params=engine_params(num_kv_blocks=1),
    )
    put(data, "cpu-0", hardware="cpu", status="invalid")
    found = {row["hardware"]: row for row in rows(data).values()}
    assert found["h200"]["state"] == found["cpu"]["state"] == "refused"
    assert "num_kv_blocks is 1000 in the real run, 1 in" in found["h200"]["why"]
    assert "invalid" in found["cpu"]["why"]


def test_the_page_and_tables_hold_every_row(data) -> None:
    put(data, "cpu-0", hardware="cpu", model="other")
    result = build_fidelity_matrix(data, data.fidelity_matrix_dir)
    page = result.page.read_text()
    assert f'<a href="../comparisons/{NAME}/report.html">' in page
    assert "chat--other--cpu--vllm" in page
    for chart in ("heat", "noise", "load"):
        assert f'id="chart-{chart}"' in page
    errors = pd.read_csv(result.tables["errors"])
    assert errors["error_pct"].tolist() == [10, 1, 4]
    assert pd.read_csv(result.tables["comparisons"])["state"].tolist() == ["missing", "current"]
    again = build_fidelity_matrix(data, data.fidelity_matrix_dir)
    assert again.page.read_text() == page
    assert re.search(r"1 current, 0 stale, 1 missing, 0 refused", page)


def test_with_nothing_there_the_page_says_so(tmp_path) -> None:
    data = DataRoot(tmp_path)
    result = build_fidelity_matrix(data, data.fidelity_matrix_dir)
    assert result.rows == ()
    assert "nothing to compare yet" in result.page.read_text()


def test_without_repeats_there_is_no_noise_to_draw_against(data) -> None:
    table = data.comparison_dir(NAME) / "tables" / "verdict.csv"
    pd.read_csv(table).assign(noise_pct=None).to_csv(table, index=False)
    page = build_fidelity_matrix(data, data.fidelity_matrix_dir).page.read_text()
    assert [chart for chart in ("heat", "noise", "load") if f'id="chart-{chart}"' in page] == [
        "heat",
        "load",
    ]

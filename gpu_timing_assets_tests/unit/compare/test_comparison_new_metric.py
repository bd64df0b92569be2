"""A metric is one module: it shows in the verdict, the tables, the pages and the checks."""

import sys

import pandas as pd
import pytest

from gpu_timing_assets import metrics
from gpu_timing_assets.compare import ComparisonInputs, check_names, check_outcomes, run
from gpu_timing_assets.compare.show.matrix_page import headline_columns
from gpu_timing_assets.core.run import TOKEN_TIMES
from gpu_timing_assets.metrics.registry import all_metrics
from gpu_timing_assets_tests.unit.compare.synthetic_runs import (
    configuration,
    scaled,
    served,
    write_run,
)

MODULE = """
from gpu_timing_assets.metrics.e2e import e2e_ms
from gpu_timing_assets.metrics.metric import PerRequest

METRIC = PerRequest(
    name="normalized latency",
    unit="ms",
    definition="E2E / output tokens of a request",
    compute=lambda run: e2e_ms(run) / run.grid.tokens,
)
"""


@pytest.fixture
def normalized_latency(tmp_path, monkeypatch):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "normalized_latency.py").write_text(MODULE)
    monkeypatch.setattr(metrics, "__path__", [*metrics.__path__, str(folder)])
    yield
    sys.modules.pop("gpu_timing_assets.metrics.normalized_latency", None)


def test_the_metrics_stand_in_the_order_of_the_report() -> None:
    names = [metric.name for metric in all_metrics()]
    assert names == ["TTFT", "ITL", "TPOT", "E2E", "throughput", "goodput"]
    assert [metric.name for metric in all_metrics() if TOKEN_TIMES in metric.needs] == ["ITL"]
    assert [metric.name for metric in all_metrics() if not metric.lower_is_better] == [
        *("throughput", "goodput")
    ]


def test_the_matrix_shows_each_metrics_headline_statistics() -> None:
    assert list(headline_columns(all_metrics()).values()) == [
        *(f"ttft_{name}_error_pct" for name in ("p50", "p90", "p99")),
        *(f"itl_{name}_error_pct" for name in ("p50", "p90", "p99")),
        "tpot_mean_error_pct",
        *(f"e2e_{name}_error_pct" for name in ("p50", "p90", "p99")),
        *("throughput_rate_error_pct", "goodput_rate_error_pct"),
    ]


def test_one_module_adds_a_metric_everywhere(normalized_latency, tmp_path) -> None:
    arrivals, times = served(requests=20)
    inputs = ComparisonInputs(
        (write_run(tmp_path / "real", arrivals, times),),
        (
            write_run(
                tmp_path / "sim", arrivals, scaled(arrivals, times, 1.2), run_type="simulated"
            ),
        ),
    )
    result = run(configuration(), inputs, tmp_path / "out")
    rows = [row for row in result.verdicts if row.metric == "normalized latency"]
    assert [row.statistic for row in rows] == ["mean", "p50", "p90", "p95", "p99"]
    assert all(row.error_pct == pytest.approx(20, abs=0.1) for row in rows)
    assert all(row.low_pct == pytest.approx(20, abs=0.1) for row in rows)
    tables = {name: pd.read_csv(path) for name, path in result.tables.items()}
    for name in ("verdict", "real_runs", "distances", "request_pairs", "grouped_errors", "metrics"):
        assert "normalized latency" in set(tables[name]["metric"]), name
    assert "real_normalized_latency_ms" in tables["requests"].columns
    assert "real_normalized_latency_ms" in set(tables["definitions"]["column"])
    assert "| engine_loop | normalized latency | p50 |" in result.summary.read_text()
    page = result.report.read_text()
    assert "E2E / output tokens of a request" in page
    assert '<th class="name">normalized latency</th>' in page
    assert "normalized_latency_error" in check_names()
    outcomes = {outcome.name: outcome for outcome in check_outcomes(result)}
    assert not outcomes["normalized_latency_error"].passed
    columns = headline_columns(all_metrics())
    assert columns["normalized latency", "p99"] == "normalized_latency_p99_error_pct"

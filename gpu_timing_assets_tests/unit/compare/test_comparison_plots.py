"""What a plot is given to draw: never something its axis cannot show, and never more than it
needs.
"""

import json

import numpy as np
import pytest

from gpu_timing_assets.compare.findings import judge_and_explain
from gpu_timing_assets.compare.gate.align import align
from gpu_timing_assets.compare.show import report, theme
from gpu_timing_assets.compare.show.charts.requests import SCATTER_POINTS
from gpu_timing_assets.config.comparison import ComparisonPreset
from gpu_timing_assets.metrics.registry import all_metrics
from gpu_timing_assets_tests.unit.compare.synthetic_runs import MS, run_in_memory, scaled, served

PRESET = ComparisonPreset(bootstrap_resamples=100)


def figures(arrivals, *real, simulated):
    aligned = align(
        [run_in_memory(f"real-{k}", arrivals, times) for k, times in enumerate(real)],
        [
            run_in_memory(name, arrivals, times, run_type="simulated")
            for name, times in simulated.items()
        ],
    )
    findings = judge_and_explain(aligned, all_metrics(), PRESET, judged="engine")
    return {
        figure.name: figure.specification() for figure in report.figures(aligned, findings, PRESET)
    }


def values(specification, chart):
    return specification["datasets"][chart["data"]["name"]]


def test_tokens_that_came_together_do_not_break_a_logarithmic_axis() -> None:
    arrivals = [0, 0]
    together = [[5 * MS, 5 * MS, 6 * MS, 600 * MS], [7 * MS, 7 * MS, 7 * MS, 900 * MS]]
    apart = [[5 * MS, 6 * MS, 7 * MS, 600 * MS], [7 * MS, 8 * MS, 9 * MS, 900 * MS]]
    drawn = figures(arrivals, apart, together, simulated={"engine": apart})
    for name in ("cdf", "qq"):
        [panel] = [panel for panel in drawn[name]["concat"] if panel["title"] == "ITL"]
        assert '"type": "log"' in json.dumps(panel)
        for layer in panel["layer"]:
            for row in values(drawn[name], layer):
                assert all(
                    value > 0
                    for key, value in row.items()
                    if key not in ("series", "share", "level")
                )


def test_a_chart_does_not_depend_on_what_was_drawn_before() -> None:
    arrivals, times = served(requests=10)
    first = figures(arrivals, times, simulated={"engine": times})
    assert figures(arrivals, times, simulated={"engine": times}) == first


@pytest.mark.parametrize("requests", [10, 4000])
def test_scatter_plots_are_down_sampled_and_keep_first_and_last(requests) -> None:
    arrivals = (np.arange(requests) * MS).tolist()
    times = [[arrival + 5 * MS] for arrival in arrivals]
    drawn = figures(
        arrivals, times, simulated={"engine": times, "kernel": scaled(arrivals, times, 0.5)}
    )
    points = max(drawn["requests"]["datasets"].values(), key=len)
    assert len(points) == min(2 * requests, SCATTER_POINTS)
    assert {0, requests - 1} <= {point["request"] for point in points}


def test_both_themes_colour_as_many_series_as_there_are_dashes() -> None:
    for mode in ("light", "dark"):
        assert (
            len(theme.theme(mode)["range"]["category"])
            == len(theme.DASHES)
            == len(set(theme.CATEGORY[mode]))
        )

"""A comparison's pages draw their figures in a browser, under the server's security policy."""

from collections.abc import Iterator

import pytest

from gpu_timing_assets.compare import ComparisonInputs, run
from gpu_timing_assets_tests.browser.browser import Browser, chromium
from gpu_timing_assets_tests.integration.dagster_page import wait_until
from gpu_timing_assets_tests.unit.compare.synthetic_runs import (
    configuration,
    scaled,
    served,
    write_run,
)
from gpu_timing_assets_tests.unit.dagster_app.running_reports import running_reports

MARKS = "return document.querySelectorAll('svg path').length"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    data, runs = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("runs")
    arrivals, times = served(requests=10)
    real = write_run(runs / "real", arrivals, times)
    simulated = write_run(
        *(runs / "simulated", arrivals, scaled(arrivals, times, 1.04)), run_type="simulated"
    )
    run(configuration(), ComparisonInputs((real,), (simulated,)), data / "comparisons" / "chat")
    with running_reports(data) as found:
        yield found


@pytest.mark.parametrize("page", ["report.html", "figs/cdf.html", "figs/errors.html"])
def test_the_figures_are_drawn(browser: Browser, url: str, page: str):
    browser.open(f"{url}/comparisons/chat/{page}")
    wait_until(lambda: browser.run(MARKS) > 5, 30, f"no figure is drawn on {page}")

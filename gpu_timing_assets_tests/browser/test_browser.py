"""The page as a person sees it in a browser: the graph, a materialization, its plots and checks, a
backfill, a report.

Set GPU_TIMING_BROWSER_BACKEND=null_engine to look without an engine (there is then no simulation
and no report).
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets_tests.browser.browser import Browser, chromium
from gpu_timing_assets_tests.integration.dagster_page import (
    DagsterPage,
    dagster_page,
    free_port,
    wait_until,
)

WORKLOAD = "chat_poisson"
# presets by their files' names
BACKEND = os.environ.get("GPU_TIMING_BROWSER_BACKEND", "vllm_cpu")
ENGINE = BACKEND == "vllm_cpu"
MADE = (
    [
        "workload_spec",
        "real_run",
        "profiling_bundle",
        "sim_run",
        "sim_run_at_host_speed",
        "comparison",
        "fidelity_matrix",
    ]
    if ENGINE
    else ["workload_spec", "real_run"]
)
LAUNCHPAD = """\
resources:
  target:
    config:
      hardware: cpu
      overrides:
        hardware: {repeats: 5}
ops:
  workload_spec: {config: {overrides: {arrivals: {gamma: {rate_per_s: 4, cv: 2}}}}}
  sim_run: {config: {preset: kernel, overrides: {seed: 3}}}
  comparison: {config: {overrides: {pass_pct: 3}}}
  profiling_bundle: {config: {force: true}}
"""
needs_engine = pytest.mark.skipif(
    not ENGINE, reason="GPU_TIMING_BROWSER_BACKEND says that there is no engine"
)


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"screenshots: {folder}")
    return folder.resolve()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterPage]:
    folder, port = tmp_path_factory.mktemp("browser"), free_port()
    variables = {
        "GPU_TIMING_REPORTS_PORT": str(port),
        "GPU_TIMING_TARGET": f"hardware=cpu hardware.max_lateness_p99_ms=5000 backend={BACKEND}",
    }
    with dagster_page(folder, **variables) as page:
        server = subprocess.Popen(
            [sys.executable, "-m", "gpu_timing_assets.reports_server"],
            env={**os.environ, **variables, "GPU_TIMING_DATA_ROOT": str(page.data)},
            cwd=PROJECT_ROOT,
        )
        try:
            run_id = page.materialize(MADE, WORKLOAD)
            assert page.wait(run_id, 500) == "SUCCESS", page.log_lines(run_id)[-5:]
            yield page
        finally:
            server.terminate()
            server.wait(10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def test_the_graph_explains_itself(page: DagsterPage, browser: Browser, screenshots: Path):
    browser.open(f"{page.url}/asset-groups")
    browser.wait_for("workload", "measurement", "simulation", "fidelity")
    browser.expand_groups()
    browser.wait_for(
        "workload_spec",
        "real_run",
        "profiling_bundle",
        "sim_run",
        "sim_run_at_host_speed",
        "comparison",
        "fidelity_matrix",
    )
    browser.screenshot(screenshots / "graph.png")


@pytest.mark.parametrize(
    ("asset", "words"),
    [
        ("workload_spec", ("requests", "arrivals", "workload_sha256")),
        ("real_run", ("latencies", "ttft_p50_ms", "lateness_p99_ms", "engine")),
        pytest.param("comparison", ("verdict", "report", "error_pct_"), marks=needs_engine),
    ],
)
def test_a_partition_shows_what_a_person_wants(
    page: DagsterPage, browser: Browser, screenshots: Path, asset: str, words: tuple[str, ...]
):
    browser.open(f"{page.url}/assets/{asset}?view=partitions&partition={WORKLOAD}")
    browser.wait_for(WORKLOAD, *words)
    assert "Show Markdown" not in browser.text(), "a sparkline is too long to be shown inline"
    drawn = browser.run(
        "return [...document.querySelectorAll('img')].filter(e => "
        "e.src.startsWith('data:image/svg'))"
        ".map(e => e.naturalWidth)"
    )
    assert drawn, "no sparkline is drawn"
    assert all(width > 0 for width in drawn)
    browser.screenshot(screenshots / f"{asset}.png")


@needs_engine
def test_the_bundle_and_the_matrix_show_theirs(
    page: DagsterPage, browser: Browser, screenshots: Path
):
    browser.open(f"{page.url}/assets/profiling_bundle?view=events")
    browser.wait_for("fitted_errors", "covers")
    browser.open(f"{page.url}/assets/fidelity_matrix?view=events")
    browser.wait_for("matrix")


@needs_engine
def test_the_checks_are_shown(page: DagsterPage, browser: Browser, screenshots: Path):
    browser.open(f"{page.url}/assets/comparison?view=checks")
    browser.wait_for("parity", "ttft_error", "real_runs_complete")
    browser.screenshot(screenshots / "checks.png")


def test_the_launchpad_shows_the_help_and_what_is_wrong(
    page: DagsterPage, browser: Browser, screenshots: Path
):
    launchpad = f"{page.url}/locations/gpu_timing_assets/jobs/whole_graph/playground/setup?config="
    browser.open(launchpad + quote(LAUNCHPAD))
    browser.wait_for("What is measured and simulated", "No errors")
    browser.open(launchpad + quote(LAUNCHPAD.replace("seed", "sead")))
    browser.wait_for('unexpected config entry "sead"', "substitution?")
    browser.screenshot(screenshots / "launchpad.png")


def test_progress_shows_in_the_runs_log(page: DagsterPage, browser: Browser, screenshots: Path):
    run = page.instance.get_runs()[0]
    browser.open(f"{page.url}/runs/{run.run_id}")
    browser.wait_for("RUN_SUCCESS")
    browser.type_into("Filter", "requests, ")
    browser.wait_for("tokens/s", "left")
    browser.screenshot(screenshots / "run.png")


def test_a_backfill_of_three_partitions_is_followed_to_its_end(
    page: DagsterPage, browser: Browser, screenshots: Path
):
    backfill = page.backfill(["workload_spec"], ["smoke", "mix_rate_2", "mix_rate_5"])
    browser.open(f"{page.url}/runs/b/{backfill}")
    wait_until(lambda: page.backfill_status(backfill) == "COMPLETED_SUCCESS", 240, "the backfill")
    browser.open(f"{page.url}/runs/b/{backfill}")
    browser.wait_for("workload_spec", "Succeeded", "100% completed")
    browser.screenshot(screenshots / "backfill.png")


def test_the_automation_is_there_and_off(page: DagsterPage, browser: Browser):
    browser.open(f"{page.url}/automation")
    browser.wait_for("nightly_backfill", "refresh_every_workload")
    enabled = browser.run(
        "return [...document.querySelectorAll('input[type=checkbox]')].filter(e => "
        "e.checked).length"
    )
    assert enabled <= 1  # the failure report alone


@needs_engine
def test_a_report_is_read_from_the_page(page: DagsterPage, browser: Browser, screenshots: Path):
    browser.open(f"{page.url}/assets/comparison?view=partitions&partition={WORKLOAD}")
    browser.wait_for("report")
    address = browser.run(
        "return [...document.querySelectorAll('a')].map(e => e.href).find(h => "
        "h.endsWith('/report.html'))"
    )
    assert address
    browser.open(address)
    browser.wait_for("TTFT", "E2E")
    browser.screenshot(screenshots / "report.png")

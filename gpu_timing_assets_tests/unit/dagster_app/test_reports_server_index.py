"""What a person finds on the reports server: asked over HTTP, of comparisons as they are filed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gpu_timing_assets.compare import ComparisonInputs, run
from gpu_timing_assets.compare.fidelity_matrix import PAGE_FILE as MATRIX_PAGE
from gpu_timing_assets.core.comparison import VERDICT_TABLE, load_result
from gpu_timing_assets.core.files import read_json, write_json
from gpu_timing_assets.core.manifest import write_manifest
from gpu_timing_assets.core.run import RUN_META_FILE
from gpu_timing_assets.workload.page import PAGE_FILE as WORKLOAD_PAGE
from gpu_timing_assets_tests.unit.compare.synthetic_runs import (
    configuration,
    scaled,
    served,
    write_run,
)
from gpu_timing_assets_tests.unit.dagster_app.running_reports import running_reports

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two comparisons, of which the one that is first by name is the older, two that cannot be
    read, a matrix and a workload.
    """
    data, runs = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("runs")
    arrivals, times = served(requests=10)
    real = write_run(runs / "real", arrivals, times)
    simulated = write_run(
        *(runs / "simulated", arrivals, scaled(arrivals, times, 1.04)), run_type="simulated"
    )
    newer = data / "comparisons" / "newer"
    run(configuration(), ComparisonInputs((real,), (simulated,)), newer)
    older = shutil.copytree(newer, data / "comparisons" / "a-older")
    meta = read_json(older / RUN_META_FILE)
    write_json(older / RUN_META_FILE, {**meta, "ended_at": "2020-02-03T04:05:06Z"})
    write_manifest(older)
    edited = shutil.copytree(newer, data / "comparisons" / f"edited {HOSTILE}".replace("/", ""))
    (edited / "tables" / VERDICT_TABLE).write_text("a,b\n")
    (data / "comparisons" / "half-made").mkdir()
    for page in (f"fidelity_matrix/{MATRIX_PAGE}", f"workloads/chat/{WORKLOAD_PAGE}"):
        (data / page).parent.mkdir(parents=True)
        (data / page).write_text("<p>a page</p>")
    return data


@pytest.fixture(scope="module")
def url(data_root: Path) -> Iterator[str]:
    with running_reports(data_root) as found:
        yield found


@pytest.mark.parametrize(
    ("path", "kinds"),
    [
        # both are names of JavaScript, and which one is given is the machine's choice
        ("comparisons/newer/figs/vega.js", ("text/javascript", "application/javascript")),
        ("comparisons/newer/figs/cdf.html", ("text/html",)),
        ("comparisons/newer/report.html", ("text/html",)),
        ("workloads/chat/workload.html", ("text/html",)),
    ],
)
def test_each_file_is_sent_as_what_it_is(url: str, path: str, kinds: tuple[str, ...]):
    """A browser runs no script that is sent as anything else, under `nosniff`."""
    answer = httpx.get(f"{url}/{path}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] in kinds
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "script-src 'self'" in answer.headers["content-security-policy"]


def test_the_matrix_comes_first_then_the_newest_comparison_then_the_workloads(url: str):
    page = httpx.get(url).text
    listed = (
        "fidelity_matrix/fidelity_matrix.html",
        *(f"comparisons/{name}/report.html" for name in ("newer", "a-older")),
        *("unreadable", "workloads/chat/workload.html"),
    )
    places = [page.index(text) for text in listed]
    assert places == sorted(places)


def test_a_comparison_is_listed_with_its_date_target_and_verdicts(url: str, data_root: Path):
    row = next(row for row in httpx.get(url).text.split("<tr>") if "a-older" in row)
    result = load_result(data_root / "comparisons" / "a-older")
    counts = [
        sum(judged.verdict == verdict for judged in result.judged_rows)
        for verdict in ("pass", "below noise", "warn", "fail", "undefined")
    ]
    assert sum(counts) == len(result.judged_rows) > 0
    cells = row.partition("</table>")[0].split("<td>")[1:]
    assert cells[0] == "2020-02-03T04:05:06Z"
    assert cells[2:] == [result.meta.workload_id, result.meta.target.id, *map(str, counts)]


@pytest.mark.parametrize(
    ("name", "why"),
    [("half-made", "has no run_meta.json"), ("edited", "is not the file that was filed")],
)
def test_a_comparison_that_cannot_be_read_is_listed_with_its_reason(url: str, name: str, why: str):
    rows = [row for row in httpx.get(url).text.split("<tr>") if row.startswith("<td>unreadable")]
    assert [why in row for row in rows if name in row] == [True]


def test_a_name_is_shown_as_text(url: str):
    assert HOSTILE not in httpx.get(url).text


def test_every_link_of_the_index_leads_somewhere(url: str):
    links = [part.partition('"')[0] for part in httpx.get(url).text.split('href="')[1:]]
    assert len(links) == 5
    assert {httpx.get(f"{url}{link}").status_code for link in links} == {200}

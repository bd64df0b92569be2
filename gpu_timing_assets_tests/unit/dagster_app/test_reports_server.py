"""The reports server shows reports, and nothing else."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from gpu_timing_assets.reports_server import application, reports


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    for name, text in {
        "comparisons/w--m--cpu--vllm/report.html": "<p>a report</p>",
        "comparisons/w--m--cpu--vllm/figs/cdf.svg": "<svg/>",
        "comparisons/w--m--cpu--vllm/figs/cdf.html": "<p>one figure</p>",
        "fidelity_matrix/matrix.html": "<p>all</p>",
        "workloads/w/workload.html": "<p>a workload</p>",
        "workloads/w/prompts.jsonl": "private",
        "workloads/w/workload_meta.json": "{}",
        "workloads/w/config.json": "{}",
        "workloads/w/trace_lengths.csv": "private",
        "workloads/w/other.html": "no",
        "workloads/w/deep/workload.html": "no",
        "workloads/workload.html": "no",
        "workloads/.scratch/workload.html": "half",
        "comparisons/.unfinished-w/report.html": "half",
        "comparisons/w--m--cpu--vllm/.secret.html": "hidden",
        "comparisons/w--m--cpu--vllm/notes.pickle": "no",
        "real_runs/r/run_meta.json": "{}",
        "secret.html": "root",
    }.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text(text)
    (tmp_path / "outside.html").write_text("outside")
    (data / "comparisons" / "link.html").symlink_to(tmp_path / "outside.html")
    (data / "comparisons" / "loop.html").symlink_to("loop.html")
    (data / "workloads" / "linked").mkdir()
    (data / "workloads" / "linked" / "workload.html").symlink_to("../w/prompts.jsonl")
    return data


@pytest.fixture
def client(data_root: Path) -> TestClient:
    return TestClient(application(data_root), base_url="http://127.0.0.1")


def test_shows_a_report_and_its_figures(client: TestClient):
    assert client.get("/comparisons/w--m--cpu--vllm/report.html").text == "<p>a report</p>"
    assert client.get("/comparisons/w--m--cpu--vllm/figs/cdf.svg").status_code == 200


def test_the_index_lists_finished_reports_only(client: TestClient, data_root: Path):
    assert "/comparisons/w--m--cpu--vllm/report.html" in client.get("/").text
    assert ".unfinished" not in client.get("/").text
    assert reports(data_root, "comparisons") == ["comparisons/w--m--cpu--vllm/report.html"]
    assert reports(data_root, "fidelity_matrix") == ["fidelity_matrix/matrix.html"]
    assert reports(data_root, "workloads") == ["workloads/w/workload.html"]
    assert "figs" not in client.get("/").text


@pytest.mark.parametrize(
    "path",
    [
        "/comparisons/../secret.html",
        "/comparisons/%2e%2e/secret.html",
        "/comparisons/..%2fsecret.html",
        "/comparisons/%2e%2e%2f%2e%2e%2foutside.html",
        "/comparisons/....//secret.html",
        "/comparisons//etc/passwd",
        "/comparisons/w--m--cpu--vllm/%2e%2e/%2e%2e/secret.html",
        "/secret.html",
        "/etc/passwd",
        "/comparisons/..\\secret.html",
        "/comparisons/link.html",
        "/comparisons/loop.html",
        "/comparisons/w--m--cpu--vllm/.secret.html",
        "/comparisons/.unfinished-w/report.html",
        "/comparisons/w--m--cpu--vllm/notes.pickle",
        "/real_runs/r/run_meta.json",
        "/workloads/w/prompts.jsonl",
        "/workloads/w/workload_meta.json",
        "/workloads/w/config.json",
        "/workloads/w/trace_lengths.csv",
        "/workloads/w/other.html",
        "/workloads/w/deep/workload.html",
        "/workloads/workload.html",
        "/workloads/.scratch/workload.html",
        "/workloads/linked/workload.html",
        "/workloads/w/workload.html/%2e%2e/prompts.jsonl",
        "/comparisons/%2e%2e/workloads/w/config.json",
        "/comparisons/%00",
        "/comparisons/%00.html",
        "/comparisons/",
    ],
)
def test_nothing_else_can_be_reached(client: TestClient, path: str):
    response = client.get(path)
    assert response.status_code in (400, 404), (response.status_code, response.text[:80])


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_it_is_read_only(client: TestClient, method: str):
    assert client.request(method, "/comparisons/w--m--cpu--vllm/report.html").status_code == 405


def test_another_host_name_is_refused(client: TestClient):
    """A page elsewhere must not read reports through a name that resolves to loopback."""
    assert client.get("/", headers={"host": "evil.example"}).status_code == 403


def test_another_page_is_refused_even_one_of_this_machine(client: TestClient):
    for origin in ("http://evil.example", "http://127.0.0.1:3000", "null"):
        assert client.get("/", headers={"origin": origin}).status_code == 403


def test_a_report_may_draw_but_reach_nothing_else(client: TestClient):
    for path in ("/", "/comparisons/w--m--cpu--vllm/report.html"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "script-src 'self' 'unsafe-inline'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_without_any_report_it_says_so(tmp_path: Path):
    assert (
        "none yet" in TestClient(application(tmp_path), base_url="http://localhost").get("/").text
    )

"""The page answers its own pages and nobody else's, with an engine that answers at once."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets_tests.integration.dagster_page import (
    DagsterPage,
    dagster_page,
    free_port,
    wait_until,
)

SUBSCRIPTIONS = [Subprotocol("graphql-ws")]
MUTATION = 'mutation { terminateRun(runId: "x") { __typename } }'


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterPage]:
    target = "hardware=cpu hardware.repeats=1 hardware.max_lateness_p99_ms=5000 backend=null_engine"
    with dagster_page(tmp_path_factory.mktemp("strangers"), GPU_TIMING_TARGET=target) as found:
        yield found


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
def test_a_foreign_page_may_neither_read_nor_start_anything(page: DagsterPage, headers):
    query = {"query": "{ version }"}
    assert httpx.get(f"{page.url}/", headers=headers).status_code == 403
    assert httpx.get(f"{page.url}/graphql", params=query, headers=headers).status_code == 403
    assert httpx.post(f"{page.url}/graphql", json=query, headers=headers).status_code == 403


def test_the_reports_of_this_machine_may_not_start_anything(page: DagsterPage):
    headers = {"Origin": "http://127.0.0.1:3001"}
    answer = httpx.post(f"{page.url}/graphql", json={"query": MUTATION}, headers=headers)
    assert answer.status_code == 403


@pytest.mark.parametrize("before", ["", "query a { version } ", "# a query\n"])
def test_nothing_is_changed_by_a_link(page: DagsterPage, before: str):
    query = before + MUTATION
    assert httpx.get(f"{page.url}/graphql", params={"query": query}).status_code == 403


def test_the_page_itself_may_ask_and_change(page: DagsterPage):
    own = {"Origin": page.url}
    assert httpx.get(f"{page.url}/", headers=own).status_code == 200
    answer = httpx.post(f"{page.url}/graphql", json={"query": MUTATION}, headers=own)
    assert "terminateRun" in answer.json()["data"]


def test_the_page_itself_may_subscribe(page: DagsterPage):
    address = page.url.replace("http", "ws") + "/graphql"
    with connect(address, origin=Origin(page.url), subprotocols=SUBSCRIPTIONS) as socket:
        socket.send('{"type": "connection_init"}')
        assert "connection_ack" in str(socket.recv(timeout=20))


def test_a_foreign_page_may_not_subscribe(page: DagsterPage):
    address = page.url.replace("http", "ws") + "/graphql"
    with pytest.raises(InvalidStatus) as refused:
        connect(address, origin=Origin("http://evil.example"), subprotocols=SUBSCRIPTIONS)
    assert refused.value.response.status_code == 403


def test_a_run_starts_no_interpreter_that_the_settings_do_not_list(
    page: DagsterPage, tmp_path: Path
):
    trap = tmp_path / "python"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    trap.chmod(0o755)
    overrides = {"backend": {"python": str(trap)}}
    target = {"resources": {"target": {"config": {"overrides": overrides}}}}
    assert page.wait(page.materialize(["workload_spec"], "smoke")) == "SUCCESS"
    run_id = page.materialize(["real_run"], "smoke", target)
    assert page.wait(run_id) == "FAILURE"
    assert any("GPU_TIMING_INTERPRETERS" in line for line in page.log_lines(run_id))
    assert not (tmp_path / "started").exists()


def test_the_reports_server_refuses_strangers_too(tmp_path: Path):
    port = free_port()
    environment = {
        "PYTHONPATH": str(PROJECT_ROOT),
        "GPU_TIMING_DATA_ROOT": str(tmp_path),
        "GPU_TIMING_REPORTS_PORT": str(port),
    }
    command = [sys.executable, "-m", "gpu_timing_assets.reports_server"]
    server, url = subprocess.Popen(command, env=environment), f"http://127.0.0.1:{port}/"
    try:
        wait_until(lambda: _status(url) == 200, 30, "the reports server")
        assert _status(url, Host="evil.example") == 403
        assert _status(url, Origin="http://evil.example") == 403
    finally:
        server.terminate()
        server.wait(10)


def _status(url: str, **headers: str) -> int | None:
    try:
        return httpx.get(url, headers=headers).status_code
    except httpx.ConnectError:
        return None

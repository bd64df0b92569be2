"""A page of the tests' own: on free loopback ports, with the committed instance settings
and its own data root.

Everything a person does on the page goes through the same GraphQL as the page uses.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import psutil

from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets.dagster_app.execution.prepare_history import prepare_history

LOCATION = {"repositoryLocationName": "gpu_timing_assets", "repositoryName": "__repository__"}
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class DagsterPage:
    """A running page; `home` is its DAGSTER_HOME, `data` its data root."""

    url: str
    home: Path
    data: Path
    process: subprocess.Popen[bytes]
    instance: dg.DagsterInstance
    base_processes: set[int] = field(default_factory=set)

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = httpx.post(
            f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60
        ).json()
        if answer.get("errors"):
            raise AssertionError(answer["errors"])
        return dict(answer["data"])

    def materialize(
        self, assets: Sequence[str], workload_id: str, run_config: Mapping[str, Any] | None = None
    ) -> str:
        """The page's own mutation for one partition; returns the run's id."""
        done = self.graphql(
            LAUNCH,
            params={
                "selector": {
                    **LOCATION,
                    "pipelineName": "__ASSET_JOB",
                    "assetSelection": [{"path": [name]} for name in assets],
                    "assetCheckSelection": None,
                },
                "runConfigData": dict(run_config or {}),
                "mode": "default",
                "executionMetadata": {"tags": [{"key": "dagster/partition", "value": workload_id}]},
            },
        )["launchPipelineExecution"]
        assert done["__typename"] == "LaunchRunSuccess", done
        return str(done["run"]["runId"])

    def backfill(self, assets: Sequence[str], workload_ids: Sequence[str]) -> str:
        done = self.graphql(
            BACKFILL,
            params={
                "assetSelection": [{"path": [name]} for name in assets],
                "partitionNames": list(workload_ids),
            },
        )["launchPartitionBackfill"]
        assert done["__typename"] == "LaunchBackfillSuccess", done
        return str(done["backfillId"])

    def status(self, run_id: str) -> str:
        run = self.instance.get_run_by_id(run_id)
        return run.status.value if run else "MISSING"

    def wait(self, run_id: str, timeout_s: float = 300) -> str:
        wait_until(lambda: self.status(run_id) in ENDED, timeout_s, f"the end of run {run_id}")
        return self.status(run_id)

    def backfill_status(self, backfill_id: str) -> str:
        return str(
            self.graphql(BACKFILL_STATUS, id=backfill_id)["partitionBackfillOrError"]["status"]
        )

    def log_lines(self, run_id: str) -> list[str]:
        return [entry.user_message for entry in self.instance.all_logs(run_id)]

    def held_slots(self, pool: str) -> int:
        return len(self.instance.event_log_storage.get_concurrency_info(pool).claimed_slots)

    def describe_started(self) -> str:
        found = [
            f"{process.pid} {' '.join(process.cmdline())[:120]}"
            for process in self.started_processes()
        ]
        return f"the end of {'; '.join(found)}"

    def started_processes(self) -> list[psutil.Process]:
        """All live processes that came from this page, whoever their parent is now, but not the
        page's own.
        """
        marker, found = str(self.data), []
        for process in psutil.process_iter():
            try:
                if (
                    process.pid not in self.base_processes
                    and process.status() != psutil.STATUS_ZOMBIE
                    and process.environ().get("GPU_TIMING_DATA_ROOT") == marker
                    and not self._keeps_the_pages_books(process)
                ):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def daemon(self) -> psutil.Process:
        return next(
            process
            for process in map(psutil.Process, self.base_processes)
            if "dagster._daemon" in process.cmdline()
        )

    def all_processes(self) -> list[psutil.Process]:
        """The page's own and all that came from it."""
        return [
            *map(psutil.Process, filter(psutil.pid_exists, self.base_processes)),
            *self.started_processes(),
        ]

    def _keeps_the_pages_books(self, process: psutil.Process) -> bool:
        """Python's resource tracker of the code server, which starts with the first run and
        stays.
        """
        return process.ppid() in self.base_processes and "resource_tracker" in " ".join(
            process.cmdline()
        )


@contextmanager
def dagster_page(
    folder: Path, *, project: Path = PROJECT_ROOT, **variables: str
) -> Iterator[DagsterPage]:
    """Another page in the same folder goes on with the history and the data of the one before."""
    home, data, temporary = folder / "home", folder / "data", folder / "tmp"
    for path in (home, data, temporary):
        path.mkdir(parents=True, exist_ok=True)
    settings = (
        (PROJECT_ROOT / "dagster.yaml")
        .read_text()
        .replace("data/.dagster", str(folder / "storage"))
    )
    (home / "dagster.yaml").write_text(settings)
    instance = dg.DagsterInstance.from_config(str(home))
    prepare_history(instance)
    port = free_port()
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "GPU_TIMING_DAGSTER_PORT": str(port),
        "GPU_TIMING_DATA_ROOT": str(data),
        "TMPDIR": str(temporary),
        "PYTHONPATH": str(project),
        "PYTHONWARNINGS": "ignore",
        **variables,
    }
    command = [sys.executable, "-m", "gpu_timing_assets.dagster_app.page"]
    with (folder / "page.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=project,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        page = DagsterPage(f"http://127.0.0.1:{port}", home, data, process, instance)
        wait_until(lambda: answers(page), 90, f"the page (its log: {folder / 'page.log'})")
        time.sleep(2)  # the daemon starts after the web server
        page.base_processes = {found.pid for found in page.started_processes()}
        yield page
    finally:
        _end(process)


def wait_until(
    condition: Callable[[], Any],
    timeout_s: float,
    what: str | Callable[[], str],
    every_s: float = 0.25,
) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(
                f"waited {timeout_s:.0f} s for {what if isinstance(what, str) else what()}"
            )
        time.sleep(every_s)


def answers(page: DagsterPage) -> bool:
    assert page.process.poll() is None, "the page ended"
    try:
        entries = page.graphql(
            "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }"
        )
    except (httpx.HTTPError, ValueError):
        return False
    return [entry["loadStatus"] for entry in entries["workspaceOrError"]["locationEntries"]] == [
        "LOADED"
    ]


def _end(process: subprocess.Popen[bytes]) -> None:
    family = (
        [process, *psutil.Process(process.pid).children(recursive=True)]
        if process.poll() is None
        else []
    )
    if process.poll() is None:
        os.kill(process.pid, signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
    for child in family[1:]:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue


LAUNCH = """mutation($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } }
  ... on RunConfigValidationInvalid { errors { message } }
  ... on PythonError { message } } }"""
BACKFILL = """mutation($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
BACKFILL_STATUS = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
  ... on PartitionBackfill { status } ... on PythonError { message } } }"""
TERMINATE = """mutation($id: String!) {
  terminateRun(runId: $id, terminatePolicy: SAFE_TERMINATE) { __typename } }"""
ASSET = """query($key: AssetKeyInput!) { assetOrError(assetKey: $key) { ... on Asset {
  assetMaterializations(limit: 1) { partition metadataEntries { label __typename
    ... on FloatMetadataEntry { floatValue } ... on IntMetadataEntry { intValue }
    ... on MarkdownMetadataEntry { mdStr } ... on UrlMetadataEntry { url }
    ... on PathMetadataEntry { path }
    ... on TextMetadataEntry { text }
    ... on TableMetadataEntry { table { records schema { columns { name } } } } } } } } }"""
CHECKS = """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  assetChecksOrError { ... on AssetChecks { checks {
    name executionForLatestMaterialization {
      status evaluation { success description } } } } } } } }"""

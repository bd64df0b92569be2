"""Dagster's page with its code server and its daemon, as `dagster dev` starts them, for requests of
the page itself alone: `python -m gpu_timing_assets.dagster_app.page`.

The page starts runs for whoever asks, and a browser asks for any page that a person has open.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs

import dagster as dg
import uvicorn
import yaml
from dagster._cli.proxy_server_manager import ProxyServerManager
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse
from starlette.middleware import Middleware

from gpu_timing_assets.config.settings import load_settings
from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets.core.edge import run_to_exit_code
from gpu_timing_assets.dagster_app.execution.prepare_history import instance_folder
from gpu_timing_assets.own_requests import OwnRequestsOnly, Scope, foreign

HOST, POLL_MS, END_S = "127.0.0.1", 2000, 15.0


def changes_by_get(scope: Scope) -> str | None:
    """Why a GET is refused that would change something: a link or an image sends one from any page,
    and no browser says whose it is.
    """
    if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
        return None
    queries = parse_qs(scope["query_string"].decode("latin-1")).get("query", [])
    return "a mutation must be sent by POST" if any(map(_changes, queries)) else None


def _changes(query: str) -> bool:
    """Whether any operation in it is no query; what does not parse Dagster does not run either."""
    try:
        found = parse(query).definitions
    except (GraphQLError, RecursionError):
        return False
    operations = (node for node in found if isinstance(node, OperationDefinitionNode))
    return any(operation.operation is not OperationType.QUERY for operation in operations)


class Page(DagsterWebserver):  # type: ignore[type-arg]
    """Dagster's web server behind the check of the requests."""

    def build_middleware(self) -> list[Middleware]:
        guard = Middleware(OwnRequestsOnly, rules=(foreign, changes_by_get))
        return [guard, *super().build_middleware()]


def serve(workspace: Path, port: int) -> int:
    """Serve until Ctrl-C (0) or until the daemon ends, without which no run would start (1)."""
    with (
        dg.DagsterInstance.get() as instance,
        _code_server(instance, workspace) as served,
        _daemon(served) as daemon,
        WorkspaceProcessContext(instance, WorkspaceFileTarget([str(served)]), __version__) as work,
    ):
        application = Page(work, live_data_poll_rate=POLL_MS).create_asgi_app()
        server = uvicorn.Server(
            uvicorn.Config(
                application,
                host=HOST,
                port=port,
                log_level="warning",
                timeout_graceful_shutdown=5,
            )
        )
        threading.Thread(target=_end_with, args=(daemon, server), daemon=True).start()
        print(f"page: http://{HOST}:{port}", flush=True)
        server.run()
    print("Dagster's daemon ended, and the page with it: start it again", file=sys.stderr)
    return 1


@contextmanager
def _code_server(instance: dg.DagsterInstance, workspace: Path) -> Iterator[Path]:
    """One process that holds the code for page and daemon; yields the workspace that names it."""
    target = WorkspaceFileTarget([str(workspace)])
    with ProxyServerManager(instance, target) as servers, TemporaryDirectory() as folder:
        served = Path(folder, "workspace.yaml")
        specifications = [dict(found) for found in servers.get_code_server_specs()]
        served.write_text(yaml.dump({"load_from": specifications}), encoding="utf-8")
        yield served


@contextmanager
def _daemon(workspace: Path) -> "Iterator[subprocess.Popen[bytes]]":
    command = [sys.executable, "-m", "dagster._daemon", "run", "--workspace", str(workspace)]
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _end_with(daemon: "subprocess.Popen[bytes]", server: uvicorn.Server) -> None:
    daemon.wait()
    server.should_exit = True


def main() -> int:
    os.environ["DAGSTER_IS_DEV_CLI"] = "1"  # how Dagster tells that it may show errors in short
    os.environ["DAGSTER_HOME"] = instance_folder()  # the daemon's too
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def work() -> int:
        try:
            return serve(PROJECT_ROOT / "workspace.yaml", load_settings().dagster_port)
        except KeyboardInterrupt:
            return 0

    return run_to_exit_code("page", work)


if __name__ == "__main__":
    sys.exit(main())

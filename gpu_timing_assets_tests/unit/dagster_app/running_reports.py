"""The reports server of a data root, running on a free port."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from gpu_timing_assets.reports_server import application


@contextmanager
def running_reports(data_root: Path) -> Iterator[str]:
    """Its address."""
    server = uvicorn.Server(
        uvicorn.Config(application(data_root), host="127.0.0.1", port=0, log_level="warning")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            thread.join(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)

"""Serves the reports of the data root to a browser on this machine: read-only, on loopback, nothing
else of the disk.

Only the folders of `SERVED` can be reached, only files that a report is made of, no links out of
them and nothing that is unfinished; `python -m gpu_timing_assets.reports_server` runs it.
"""

import sys
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from gpu_timing_assets.config.settings import load_settings
from gpu_timing_assets.core.data_root import default_data_root
from gpu_timing_assets.core.edge import run_to_exit_code
from gpu_timing_assets.own_requests import OwnRequestsOnly

if TYPE_CHECKING:
    from starlette.applications import Starlette

SERVED = ("comparisons", "fidelity_matrix")
# `.js`: a figure's page loads what draws it from the file beside it
SUFFIXES = {".html", ".md", ".csv", ".json", ".js", ".png", ".svg"}
# a report may be somebody else's: it draws its charts (Vega compiles their expressions) from what
# lies beside it, and reaches nothing else
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
)


def reports(data_root: Path) -> list[str]:
    """The addresses of all reports, relative to the server's root, by name."""
    found = (
        file.relative_to(data_root).as_posix()
        for kind in SERVED
        for pattern in ("*.html", "*/*.html")
        for file in (data_root / kind).glob(pattern)
    )
    return sorted(path for path in found if _is_public(path))


def _is_public(path: str) -> bool:
    """Whether it is a finished artifact's file: scratch directories and locks begin with a dot."""
    return Path(path).suffix in SUFFIXES and not any(
        part.startswith(".") for part in Path(path).parts
    )


def application(data_root: Path) -> "Starlette":
    """The application: GET and HEAD alone, for this server's own pages."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import HTMLResponse
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles

    class Reports(StaticFiles):
        def lookup_path(self, path: str):  # type: ignore[no-untyped-def]
            return super().lookup_path(path) if _is_public(path) else ("", None)

    def index(request: Request) -> HTMLResponse:
        items = "".join(
            f'<li><a href="/{escape(path)}">{escape(path)}</a></li>' for path in reports(data_root)
        )
        return HTMLResponse(
            f"<!doctype html><meta charset=utf-8><title>Reports</title><h1>Reports</h1>"
            f"<ul>{items or '<li>none yet: materialize a comparison</li>'}</ul>"
        )

    return Starlette(
        routes=[
            Route("/", index),
            *(
                Mount(f"/{kind}", Reports(directory=data_root / kind, check_dir=False))
                for kind in SERVED
            ),
        ],
        middleware=[Middleware(OwnRequestsOnly, headers=HEADERS)],
    )


def serve() -> int:
    import uvicorn

    port = load_settings().reports_port
    uvicorn.run(application(default_data_root()), host="127.0.0.1", port=port, log_level="warning")
    return 0


if __name__ == "__main__":
    sys.exit(run_to_exit_code("reports", serve))

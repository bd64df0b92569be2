"""Serves the reports of the data root to a browser on this machine: read-only, on loopback, nothing
else of the disk.

Only the folders of `SERVED` can be reached, only files that a report is made of, no links out of
them and nothing that is unfinished; `python -m gpu_timing_assets.reports_server` runs it.
"""

import os
import sys
from html import escape
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from gpu_timing_assets.config.settings import load_settings
from gpu_timing_assets.core.comparison import (
    REPORT_FILE,
    VERDICTS,
    ComparisonResult,
    load_result,
)
from gpu_timing_assets.core.data_root import default_data_root
from gpu_timing_assets.core.edge import run_to_exit_code
from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.own_requests import OwnRequestsOnly

if TYPE_CHECKING:
    from starlette.applications import Starlette

MATRIX, COMPARISONS, WORKLOADS = "fidelity_matrix", "comparisons", "workloads"
SERVED = (MATRIX, COMPARISONS, WORKLOADS)
# `.js`: a figure's page loads what draws it from the file beside it
SUFFIXES = {".html", ".md", ".csv", ".json", ".js", ".png", ".svg"}
# prompts and traces may be private: of a workload nothing but this is shown
WORKLOAD_PAGE = "workload.html"
# a report may be somebody else's: it draws its charts (Vega compiles their expressions) from what
# lies beside it, and reaches nothing else
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
STYLE = (
    ":root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif } "
    "table { border-collapse: collapse } th, td { padding: .2em .8em; text-align: left } "
    "td { vertical-align: top; overflow-wrap: anywhere }"
)
NO_ROW = "<tr><td colspan=9>none yet: materialize a comparison"
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
)


def reports(data_root: Path, kind: str) -> list[str]:
    """The addresses of all reports of one kind, relative to the server's root, by name."""
    directory = data_root / kind
    found = (
        file.relative_to(directory).as_posix()
        for pattern in ("*.html", "*/*.html")
        for file in directory.glob(pattern)
    )
    return sorted(f"{kind}/{path}" for path in found if _is_public(directory, path))


def _is_public(directory: Path, path: str) -> bool:
    """Whether both `path` below the directory of a kind, and where it leads if it is a link, are a
    report's file.
    """
    # `Path.resolve` fails on a link to itself
    inside = Path(os.path.realpath(directory))
    found = Path(os.path.realpath(inside / path))
    return (
        found.is_file()
        and _is_of_a_report(directory.name, Path(path))
        and found.is_relative_to(inside)
        and _is_of_a_report(directory.name, found.relative_to(inside))
    )


def _is_of_a_report(kind: str, path: Path) -> bool:
    """By its name: scratch directories and locks begin with a dot."""
    if any(part.startswith(".") for part in path.parts):
        return False
    if kind == WORKLOADS:
        return len(path.parts) == 2 and path.name == WORKLOAD_PAGE
    return path.suffix in SUFFIXES


def _link(address: str, text: str) -> str:
    # a name on disk need not be UTF-8
    return f'<a href="/{escape(quote(address, errors="replace"))}">{escape(text)}</a>'


def _list(data_root: Path, kind: str) -> str:
    return "".join(f"<li>{_link(path, path)}" for path in reports(data_root, kind))


def _comparison_rows(data_root: Path) -> str:
    """A table's rows: the comparisons from the newest on, then those that cannot be read."""
    pages = reports(data_root, COMPARISONS)
    ended, unreadable = [], []
    for directory in sorted((data_root / COMPARISONS).glob("[!.]*")):
        address = f"{COMPARISONS}/{directory.name}/{REPORT_FILE}"
        name = _link(address, directory.name) if address in pages else escape(directory.name)
        try:
            if not directory.is_file():
                ended.append(_ended_and_row(load_result(directory), name))
        except (ArtifactError, OSError) as error:
            why = escape(str(error))
            unreadable.append(f"<tr><td>unreadable<td>{name}<td colspan={len(VERDICTS) + 2}>{why}")
    newest_first = sorted(ended, key=itemgetter(0), reverse=True)
    return "".join([*(row for _, row in newest_first), *unreadable])


def _ended_and_row(result: ComparisonResult, name: str) -> tuple[str, str]:
    meta, counts = result.meta, result.counts()
    words = (escape(word) for word in (meta.workload_id, meta.target.id))
    figures = (str(counts.get(verdict, 0)) for verdict in VERDICTS)
    cells = (escape(meta.ended_at), name, *words, *figures)
    return meta.ended_at, "<tr>" + "".join(f"<td>{cell}" for cell in cells)


def _index(data_root: Path) -> str:
    matrix, workloads = _list(data_root, MATRIX), _list(data_root, WORKLOADS)
    rows = _comparison_rows(data_root)
    heads = "".join(f"<th>{head}" for head in ("ended", "report", "workload", "target", *VERDICTS))
    return (
        f"<!doctype html><meta charset=utf-8><title>Reports</title><style>{STYLE}</style>"
        "<h1>Reports</h1>"
        f"<h2>Fidelity matrix</h2><ul>{matrix or '<li>none yet: materialize it'}</ul>"
        "<h2>Comparisons</h2>"
        "<p>How many figures of the judged simulation got each verdict."
        f"<table><tr>{heads}{rows or NO_ROW}</table>"
        f"<h2>Workloads</h2><ul>{workloads or '<li>none yet: materialize a workload'}</ul>"
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
            public = _is_public(Path(str(self.directory)), path)
            return super().lookup_path(path) if public else ("", None)

    def index(request: Request) -> HTMLResponse:
        return HTMLResponse(_index(data_root).encode("utf-8", "replace"))

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

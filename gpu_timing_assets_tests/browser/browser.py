"""Chromium without a window, driven through chromedriver's WebDriver interface."""

import base64
import io
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from gpu_timing_assets_tests.integration.dagster_page import free_port, wait_until

OPTIONS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--window-size=1600,1000",
    "--disable-background-networking",
    "--no-first-run",
]


class Browser:
    def __init__(self, session_url: str) -> None:
        self._session = session_url

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        url = f"{self._session}/{path}"
        answer = (
            httpx.post(url, json=body, timeout=120)
            if body is not None
            else httpx.get(url, timeout=120)
        )
        answer.raise_for_status()
        return answer.json()["value"]

    def open(self, address: str) -> None:
        self._ask("url", {"url": address})

    def run(self, script: str, *arguments: Any) -> Any:
        return self._ask("execute/sync", {"script": script, "args": list(arguments)})

    def text(self) -> str:
        return str(self.run("return document.body ? document.body.innerText : ''"))

    def wait_for(self, *words: str, timeout_s: float = 60) -> None:
        """Until the page shows all of the words."""

        def missing() -> list[str]:
            text = self.text()
            return [word for word in words if word not in text]

        wait_until(
            lambda: not missing(),
            timeout_s,
            lambda: f"{missing()} on the page, which says: {self.text()[:1500]}",
        )

    def expand_groups(self) -> None:
        """The lineage page's shortcut for it (Alt+E)."""
        self.run(
            "document.body.dispatchEvent(new KeyboardEvent('keydown', "
            "{altKey: true, code: 'KeyE', key: 'e', bubbles: true}))"
        )

    def type_into(self, placeholder: str, text: str) -> None:
        found = self.run(
            """
            const field = [...document.querySelectorAll('input')].find(
                e => e.placeholder.startsWith(arguments[0]));
            if (!field) return false;
            Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value')
                .set.call(field, arguments[1]);
            field.dispatchEvent(new Event('input', {bubbles: true}));
            return true;""",
            placeholder,
            text,
        )
        assert found, f"no field {placeholder!r}"

    def screenshot(self, path: Path) -> None:
        picture = Image.open(io.BytesIO(base64.b64decode(self._ask("screenshot")))).convert("RGB")
        picture.quantize(64, dither=Image.Dither.NONE).save(
            path, optimize=True
        )  # a third of the size


@contextmanager
def chromium() -> Iterator[Browser]:
    port = free_port()
    driver = subprocess.Popen(
        ["chromedriver", f"--port={port}", "--allowed-ips=127.0.0.1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        base = f"http://127.0.0.1:{port}"

        def ready() -> bool:
            try:
                return bool(httpx.get(f"{base}/status", timeout=2).json()["value"]["ready"])
            except httpx.HTTPError:
                return False

        wait_until(ready, 30, "chromedriver")
        wanted = {
            "capabilities": {
                "alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": {"args": OPTIONS}}
            }
        }
        session = httpx.post(f"{base}/session", json=wanted, timeout=60).json()["value"][
            "sessionId"
        ]
        try:
            yield Browser(f"{base}/session/{session}")
        finally:
            httpx.delete(f"{base}/session/{session}", timeout=30)
    finally:
        driver.terminate()
        driver.wait(10)

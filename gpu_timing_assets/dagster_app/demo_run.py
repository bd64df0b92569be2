"""The demo's run of the whole graph: `dagster asset materialize`, whose output goes to a log, is
followed in Dagster's own event log while a line on the terminal says how far it is.
"""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets.dagster_app.execution.failure_report import Failure

NUM_ASSETS = 7
POLL_S, REPORT_S, END_S = 0.5, 5.0, 15.0
COLUMNS = 100
RUN_ID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")


@dataclass
class Progress:
    """Which asset is being made and what it says it does, from the events of a run."""

    begin: float = field(default_factory=time.monotonic)
    made: int = 0
    asset: str = "loading the graph"
    doing: str = ""
    failure: Failure | None = None

    def take(self, entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if event is None:
            if entry.step_key and not entry.user_message.startswith(("stage=", "[pipes]")):
                self.doing = entry.user_message
        elif event.is_step_start:
            self.asset, self.doing = str(event.step_key), ""
        elif event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY:
            self.doing = "it failed, and is tried once more"
        elif event.is_step_success:
            self.made += 1
        elif event.is_step_failure and self.failure is None:
            self.failure = Failure.of_step(event)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begin

    @property
    def line(self) -> str:
        minutes, seconds = divmod(int(self.seconds), 60)
        number = min(self.made + 1, NUM_ASSETS)
        counted = f"[{number}/{NUM_ASSETS}] {minutes}:{seconds:02d}"
        return f"{counted}  {self.asset:<21} {self.doing}"[:COLUMNS]


class _Display:
    """A line that changes on a terminal; elsewhere one for what is new, and every few seconds."""

    def __init__(self) -> None:
        self._terminal, self._last, self._asset = sys.stderr.isatty(), 0.0, ""

    def show(self, progress: Progress) -> None:
        now = time.monotonic()
        if self._terminal:
            print(f"\r\033[K{progress.line}", end="", file=sys.stderr, flush=True)
        elif progress.asset != self._asset or now - self._last > REPORT_S:
            print(progress.line.rstrip(), file=sys.stderr, flush=True)
            self._last, self._asset = now, progress.asset

    def end(self) -> None:
        if self._terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def materialize_all(
    instance: dg.DagsterInstance, workload_id: str, log: Path
) -> tuple[Progress, int]:
    """Run the command and follow it; returns what was seen of it and its exit code."""
    dagster = str(Path(sys.executable).with_name("dagster"))
    command = [dagster, "asset", "materialize", "-m", "gpu_timing_assets.definitions"]
    progress, display = Progress(), _Display()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--select", "*", "--partition", workload_id],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=PROJECT_ROOT,
        )
        try:
            for entry in _events(instance, process, log):
                if entry is not None:
                    progress.take(entry)
                if progress.failure:
                    break  # what else could be made is of no use to the demo
                display.show(progress)
            return progress, _end(process)
        except BaseException:
            _end(process)
            raise
        finally:
            display.end()


def _end(process: "subprocess.Popen[bytes]") -> int:
    """The exit code of the command, which is interrupted (as by Ctrl-C) if it is still at work."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _events(
    instance: dg.DagsterInstance, process: "subprocess.Popen[bytes]", log: Path
) -> Iterator[dg.EventLogEntry | None]:
    """The events of the run that `process` makes, as they come; None while there is none."""
    run_id = cursor = None
    ended = False
    while True:
        run_id = run_id or _run_id(log)
        if run_id:
            found = instance.get_records_for_run(run_id, cursor=cursor)
            cursor = found.cursor
            yield from (record.event_log_entry for record in found.records)
        if ended:
            return
        yield None
        # once more after its end, for what it wrote last
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL_S)
            ended = True


def _run_id(log: Path) -> str | None:
    lines = (
        line
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
        if " - dagster - " in line
    )
    return next((found[0] for line in lines if (found := RUN_ID.search(line))), None)

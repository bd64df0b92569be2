"""`make demo`: the whole graph for one workload, with progress while it works and one screen at its
end, good or bad.

`python -m gpu_timing_assets.dagster_app.demo` examines the machine, runs `dagster asset
materialize`, whose output goes to a log below the data root, follows the run in Dagster's own event
log, and prints the error table or what went wrong.
"""

import argparse
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from gpu_timing_assets.config.experiment import ExperimentConfig, compose
from gpu_timing_assets.config.settings import load_settings
from gpu_timing_assets.core.data_root import PROJECT_ROOT, default_data_root
from gpu_timing_assets.core.disk import full_disk, is_full
from gpu_timing_assets.core.errors import DiskFullError, GpuTimingError
from gpu_timing_assets.dagster_app.failure_report import root_cause
from gpu_timing_assets.dagster_app.prepare_history import instance_folder, prepare_history
from gpu_timing_assets.dagster_app.stage import REMEDIES
from gpu_timing_assets.doctor.demo_workload import DemoWorkload, demo_workload
from gpu_timing_assets.doctor.examination import examine
from gpu_timing_assets.doctor.findings import cannot

NUM_ASSETS = 6
POLL_S, REPORT_S, END_S = 0.5, 5.0, 15.0
COLUMNS, MAX_CAUSE_LINES = 100, 4
RUN_ID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")


@dataclass(frozen=True)
class Failure:
    """What a person is told of a run that failed."""

    asset: str
    cause: str
    remedy: str
    exit_code: int

    def screen(self, seconds: float, log: Path) -> str:
        """At most ten lines."""
        lines = [f"demo: {self.asset} failed after {seconds:.0f} s", ""]
        for label, text in (("cause", self.cause), ("remedy", self.remedy)):
            wrapped = textwrap.wrap(
                text,
                COLUMNS - 10,
                max_lines=MAX_CAUSE_LINES if label == "cause" else 2,
                placeholder=" …",
            )
            lines += [
                f"  {label if not number else '':<8}{line}" for number, line in enumerate(wrapped)
            ]
        return "\n".join([*lines, f"  {'log':<8}{log}"])


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
            self.failure = _failure_of(event)

    @property
    def line(self) -> str:
        seconds = int(time.monotonic() - self.begin)
        number = min(self.made + 1, NUM_ASSETS)
        clock = f"{seconds // 60}:{seconds % 60:02d}"
        return f"[{number}/{NUM_ASSETS}] {clock}  {self.asset:<17} {self.doing}"[:COLUMNS]


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--workload",
        default="",
        help="a workload preset; chosen for this machine if it is not given",
    )
    arguments = parser.parse_args(words)
    try:
        return _demo(arguments.workload)
    except GpuTimingError as error:
        print(f"demo: {error}", file=sys.stderr)
        return error.exit_code
    except (OSError, SQLAlchemyError):
        # what SQLite says of a full disk is an input/output error
        if not is_full(default_data_root()):
            raise
        fault = full_disk(default_data_root())
        print(f"demo: {fault}", file=sys.stderr)
        return fault.exit_code
    except KeyboardInterrupt:
        print("\ndemo: interrupted", file=sys.stderr)
        return 130


def _demo(workload: str) -> int:
    config = compose([*load_settings().target, *([f"workload={workload}"] if workload else [])])
    findings = examine(config, "demo")
    for finding in findings:
        if finding.verdict != "ok":
            print(finding.line)
    if stopping := cannot(findings):
        print(
            "nothing was started; `python -m gpu_timing_assets doctor` shows all that was looked at"
        )
        return stopping[0].fault.exit_code
    chosen = DemoWorkload(workload, "") if workload else demo_workload(config)
    if chosen.reason:
        print(chosen.reason)
    log = config.data.path / "logs" / f"demo-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with dg.DagsterInstance.from_config(instance_folder()) as instance:
        prepare_history(instance)
        progress, code = _materialize(instance, chosen.workload_id, log)
    seconds = time.monotonic() - progress.begin
    if code == 0 and progress.failure is None:
        _show_comparison(
            compose([*load_settings().target, f"workload={chosen.workload_id}"]),
            chosen,
            seconds,
            log,
        )
        return 0
    failure = progress.failure or _failure_in(log, config)
    print(failure.screen(seconds, log), file=sys.stderr)
    return failure.exit_code


def _materialize(instance: dg.DagsterInstance, workload_id: str, log: Path) -> tuple[Progress, int]:
    """Run the command and follow it; returns what was seen of it and its exit code."""
    command = [
        str(Path(sys.executable).with_name("dagster")),
        "asset",
        "materialize",
        "-m",
        "gpu_timing_assets.definitions",
    ]
    progress, show = Progress(), _Display()
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
                show(progress)
            return progress, _end(process)
        except BaseException:
            _end(process)
            raise
        finally:
            show.end()


def _end(process: "subprocess.Popen[bytes]") -> int:
    """The exit code of the command, which is interrupted, as Ctrl-C does, if it is still at
    work.
    """
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
    """The events of the run that `process` makes, as they come; None now and then while there is
    none.
    """
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


class _Display:
    """One line that changes on a terminal; elsewhere a line when something new is done, and every
    few seconds.
    """

    def __init__(self) -> None:
        self._terminal, self._last, self._asset = sys.stderr.isatty(), 0.0, ""

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if self._terminal:
            print(f"\r\033[K{progress.line}", end="", file=sys.stderr, flush=True)
        elif progress.asset != self._asset or now - self._last > REPORT_S:
            print(progress.line.rstrip(), file=sys.stderr, flush=True)
            self._last, self._asset = now, progress.asset

    def end(self) -> None:
        if self._terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _failure_of(event: dg.DagsterEvent) -> Failure:
    data = event.step_failure_data
    said = data.user_failure_data.metadata if data.user_failure_data else {}
    if "cause" in said:
        return Failure(
            str(event.step_key),
            str(said["cause"].value),
            str(said["remedy"].value),
            int(str(said["exit_code"].value)),
        )
    return Failure(
        str(event.step_key), root_cause(data.error), "read the log, then start it again", 1
    )


def _failure_in(log: Path, config: ExperimentConfig) -> Failure:
    """Of a command that failed before or outside a step: the last line that looks like a fault."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    faults = [
        line.strip() for line in lines if re.match(r"^\s*[\w.]+(Error|Exception|Failure)\b", line)
    ]
    cause = (
        faults[-1]
        if faults
        else (lines[-1].strip() if lines else "the command ended without a word")
    )
    if is_full(config.data.path) or re.search(r"disk is full|No space left", "\n".join(lines)):
        return Failure(
            "Dagster",
            str(full_disk(config.data.path)),
            REMEDIES[DiskFullError],
            DiskFullError.exit_code,
        )
    return Failure("Dagster", cause, "read the log, then start it again", 1)


def _show_comparison(
    config: ExperimentConfig, chosen: DemoWorkload, seconds: float, log: Path
) -> None:
    from gpu_timing_assets import compare as comparison

    result = comparison.load_result(config.data.comparison_dir(config.comparison_id))
    print(comparison.error_table_markdown(result))
    print(
        f"\n{chosen.workload_id} on {config.target.id}, {seconds:.0f} s\nreport: "
        f"{result.report}\nlog:    {log}"
    )


if __name__ == "__main__":
    sys.exit(main())

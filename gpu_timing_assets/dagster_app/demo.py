"""`make demo`: the whole graph for one workload, with progress while it works and one screen at its
end, good or bad.

`python -m gpu_timing_assets.dagster_app.demo` examines the machine, materializes the graph, and
prints the error table or what went wrong.
"""

import argparse
import re
import sys
import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from gpu_timing_assets.config.experiment import ExperimentConfig, compose
from gpu_timing_assets.config.settings import load_settings
from gpu_timing_assets.core.data_root import default_data_root
from gpu_timing_assets.core.disk import full_disk, is_full
from gpu_timing_assets.core.edge import run_to_exit_code
from gpu_timing_assets.core.errors import DiskFullError
from gpu_timing_assets.dagster_app.demo_run import COLUMNS, materialize_all
from gpu_timing_assets.dagster_app.execution.failure_report import Failure
from gpu_timing_assets.dagster_app.execution.prepare_history import instance_folder, prepare_history
from gpu_timing_assets.dagster_app.execution.remedies import REMEDIES
from gpu_timing_assets.doctor.demo_workload import DemoWorkload, demo_workload
from gpu_timing_assets.doctor.examination import examine
from gpu_timing_assets.doctor.findings import cannot

MAX_LINES = {"cause": 4, "remedy": 2}


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="demo", description=(__doc__ or "").splitlines()[0])
    which = "a workload preset; chosen for this machine if it is not given"
    parser.add_argument("--workload", default="", help=which)
    workload = parser.parse_args(words).workload

    def work() -> int:
        try:
            return _demo(workload)
        except (OSError, SQLAlchemyError):
            # what SQLite says of a full disk is an input/output error
            if not is_full(default_data_root()):
                raise
            raise full_disk(default_data_root()) from None

    return run_to_exit_code("demo", work)


def _demo(workload: str) -> int:
    target = load_settings().target
    config = compose([*target, *([f"workload={workload}"] if workload else [])])
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
    config = compose([*target, f"workload={chosen.workload_id}"])
    log = config.data.below("logs") / f"demo-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with dg.DagsterInstance.from_config(instance_folder()) as instance:
        prepare_history(instance)
        progress, exit_code = materialize_all(instance, chosen.workload_id, log)
    if exit_code == 0 and progress.failure is None:
        _show_comparison(config, progress.seconds, log)
        return 0
    failure = progress.failure or _failure_outside_steps(log, config.data.path)
    print(_screen(failure, progress.seconds, log), file=sys.stderr)
    return failure.exit_code


def _show_comparison(config: ExperimentConfig, seconds: float, log: Path) -> None:
    from gpu_timing_assets import compare as comparison

    result = comparison.load_result(config.data.comparison_dir(config.comparison_id))
    print(comparison.error_table_markdown(result))
    print(f"\n{config.workload.workload_id} on {config.target}, {seconds:.0f} s")
    print(f"report: {result.report}\nlog:    {log}")


def _failure_outside_steps(log: Path, data_root: Path) -> Failure:
    """Of a command that failed before or outside a step: the last line that looks like a fault."""
    text = log.read_text(encoding="utf-8", errors="replace")
    if is_full(data_root) or re.search(r"disk is full|No space left", text):
        cause, fault = str(full_disk(data_root)), DiskFullError
        return Failure("Dagster", cause, REMEDIES[fault], fault.exit_code)
    lines = [stripped for line in text.splitlines() if (stripped := line.strip())]
    faults = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Failure)\b", line)]
    cause = (faults or lines or ["the command ended without a word"])[-1]
    return Failure("Dagster", cause, "read the log, then start it again")


def _screen(failure: Failure, seconds: float, log: Path) -> str:
    """At most ten lines."""
    lines = [f"demo: {failure.asset} failed after {seconds:.0f} s", ""]
    for label, text in (("cause", failure.cause), ("remedy", failure.remedy)):
        wrapped = textwrap.wrap(text, COLUMNS - 10, max_lines=MAX_LINES[label], placeholder=" …")
        margins = [label, *[""] * (len(wrapped) - 1)]
        lines += [f"  {margin:<8}{line}" for margin, line in zip(margins, wrapped, strict=True)]
    return "\n".join([*lines, f"  {'log':<8}{log}"])


if __name__ == "__main__":
    sys.exit(main())

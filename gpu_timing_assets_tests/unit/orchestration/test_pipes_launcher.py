"""The launcher that assets hand to the stages: messages of the child in the run's log, and an end to every child."""

import os
import subprocess
import sys
import time

import dagster as dg
import pytest

from gpu_timing_assets.artifacts.errors import EngineError
from gpu_timing_assets.orchestration import pipes_launcher

SPEAKS = "from dagster_pipes import open_dagster_pipes as o\nwith o() as p: p.log.info('3/6 requests, 99 tokens/s')"
IGNORES_SIGINT = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"


def launch(code: str) -> tuple[list[str], list[Exception]]:
    failures: list[Exception] = []

    @dg.asset
    def measured(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        try:
            pipes_launcher.pipes_launcher(context)([sys.executable, "-c", code], dict(os.environ))
        except EngineError as error:
            failures.append(error)
        return dg.MaterializeResult()

    with dg.instance_for_test() as instance:
        result = dg.materialize([measured], instance=instance)
        lines = [entry.user_message for entry in instance.all_logs(result.run_id)]
    return lines, failures


def test_what_the_child_reports_is_in_the_runs_log():
    lines, failures = launch(SPEAKS)
    assert "3/6 requests, 99 tokens/s" in lines
    assert failures == []


def test_a_child_that_fails_is_an_engine_error_with_its_code():
    _, failures = launch("raise SystemExit(7)")
    assert len(failures) == 1
    assert "code 7" in str(failures[0])


def test_a_child_that_ignores_the_interrupt_is_killed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pipes_launcher, "GRACE_S", 0.5)
    child = subprocess.Popen([sys.executable, "-c", IGNORES_SIGINT], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    begin = time.monotonic()
    pipes_launcher._end(child)
    assert child.poll() == -9
    assert time.monotonic() - begin < 5

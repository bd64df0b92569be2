"""The launcher that assets hand to the stages: messages of the child in the run's log, and an end
to every child.
"""

import os
import subprocess
import sys
import time

import dagster as dg
import pytest

from gpu_timing_assets.dagster_app.execution import pipes_launcher

SPEAKS = (
    "from dagster_pipes import open_dagster_pipes as o\n"
    "with o() as p: p.log.info('3/6 requests, 99 tokens/s')"
)
IGNORES_SIGINT = (
    "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "print('ready', flush=True); time.sleep(60)"
)


def launch(code: str) -> tuple[list[str], int]:
    codes: list[int] = []

    @dg.asset
    def measured(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        codes.append(
            pipes_launcher.pipes_launcher(context)([sys.executable, "-c", code], dict(os.environ))
        )
        return dg.MaterializeResult()

    with dg.instance_for_test() as instance:
        result = dg.materialize([measured], instance=instance)
        lines = [entry.user_message for entry in instance.all_logs(result.run_id)]
    return lines, codes[0]


def test_what_the_child_reports_is_in_the_runs_log():
    lines, code = launch(SPEAKS)
    assert "3/6 requests, 99 tokens/s" in lines
    assert code == 0


@pytest.mark.parametrize(
    ("program", "code"),
    [("raise SystemExit(7)", 7), ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9)],
)
def test_the_end_of_a_child_is_told_by_its_exit_code(program: str, code: int):
    assert launch(program)[1] == code


def test_a_child_that_ignores_the_interrupt_is_killed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pipes_launcher, "GRACE_S", 0.5)
    child = subprocess.Popen([sys.executable, "-c", IGNORES_SIGINT], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    begin = time.monotonic()
    pipes_launcher._end(child)
    assert child.poll() == -9
    assert time.monotonic() - begin < 5

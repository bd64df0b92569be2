"""Starts a stage's engine process through Dagster Pipes: its log lines and progress show in the
run's log as they come.

Dagster's own subprocess client sends SIGINT on cancel and waits; a child that hangs in a kernel or
in an import ignores that. So after `GRACE_S` the child is killed: its watchdog then ends the
engine's processes.
"""

import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from gpu_timing_assets.engines.child_process import Launcher

GRACE_S = 5


def pipes_launcher(context: dg.AssetExecutionContext) -> "Launcher":
    """A stage's `launch(command, env)`, see `engines.child_process.Launcher`."""

    def launch(command: Sequence[str], env: Mapping[str, str]) -> int:
        with dg.open_pipes_session(
            context=context,
            context_injector=dg.PipesTempFileContextInjector(),
            message_reader=dg.PipesTempFileMessageReader(),
        ) as session:
            process = subprocess.Popen(
                list(command), env={**env, **session.get_bootstrap_env_vars()}
            )
            try:
                return process.wait()
            finally:
                _end(process)

    return launch


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the child however the block above was left: asked first, killed after `GRACE_S`."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

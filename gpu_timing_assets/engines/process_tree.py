"""An engine's processes end with the process that asked for them, however it ends.

vLLM starts processes of its own (engine core, workers) that outlive a parent killed with SIGKILL.
So the process that owns the engine leads a process group, and a watchdog outside that group kills
the whole group as soon as the owner or whoever started it is gone.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel to SIGKILL this process when its parent dies (Linux `prctl(2)`)."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def lead_process_group_with_watchdog(parent_pid: int) -> None:
    """Lead a new process group, which a watchdog kills once this process or its parent is gone."""
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    subprocess.Popen(
        [sys.executable, "-S", "-c", _WATCHDOG, str(os.getpid()), str(parent_pid)],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


_WATCHDOG = """
import os, select, signal, sys
group, parent = int(sys.argv[1]), int(sys.argv[2])
poller = select.poll()
try:
    for pid in (group, parent):
        poller.register(os.pidfd_open(pid), select.POLLIN)
    poller.poll()
except ProcessLookupError:
    pass
try:
    os.killpg(group, signal.SIGKILL)
except ProcessLookupError:
    pass
"""


def wait_for_exit(pid: int, timeout_s: float) -> bool:
    """Whether process `pid` is gone within `timeout_s`."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return bool(poller.poll(timeout_s * 1000))
    finally:
        os.close(descriptor)

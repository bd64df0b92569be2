"""Hands requests over when they are due, from a thread of its own.

The event loop in which tokens are received is also that of the engine's front end: in a burst it is
busy for milliseconds with requests that came before. What waits there waits for the engine, as at a
server's door; only the sender itself must be in time.
"""

import heapq
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# how long the interpreter lets another thread compute before one that is due gets its turn; its
# default of 5 ms would be the sender's lateness
SWITCH_INTERVAL_S = 0.0002


class Sender:
    """Calls `hand_over(number)` in its thread for each number that was given it, when it is due."""

    def __init__(self, hand_over: Callable[[int], None]) -> None:
        self._hand_over = hand_over
        self._due: list[tuple[int, int]] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def send_at(self, due_ns: int, number: int) -> None:
        """`due_ns` on the monotonic clock."""
        with self._changed:
            heapq.heappush(self._due, (due_ns, number))
            self._changed.notify()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Sends what is due while the block runs; what is not by its end is never sent."""
        interval_s = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify()
            self._thread.join()
            sys.setswitchinterval(interval_s)

    def _run(self) -> None:
        while (number := self._next()) is not None:
            self._hand_over(number)

    def _next(self) -> int | None:
        """The next number, once it is due; None when the sender is closed."""
        with self._changed:
            while not self._closed:
                wait_s = (self._due[0][0] - time.monotonic_ns()) / 1e9 if self._due else None
                if wait_s is not None and wait_s <= 0:
                    return heapq.heappop(self._due)[1]
                self._changed.wait(wait_s)
        return None

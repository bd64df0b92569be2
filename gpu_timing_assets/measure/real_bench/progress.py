"""How far a replay is, for a person: a bar on a terminal, a line every few seconds in a log."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gpu_timing_assets.engines.base import Report
from gpu_timing_assets.engines.child_process import PIPES_VARIABLE
from gpu_timing_assets.engines.replay import Progress

REPORT_INTERVAL_S = 5


@contextmanager
def shown_progress(label: str, report: Report) -> Iterator[Callable[[Progress], None]]:
    """What a replay calls with its progress."""
    if PIPES_VARIABLE in os.environ or not sys.stderr.isatty():
        yield _reported_lines(label, report)
        return
    from tqdm import tqdm

    with tqdm(desc=label, unit="request") as bar:

        def show(progress: Progress) -> None:
            bar.total, bar.n = progress.requests_total, progress.requests_done
            bar.set_postfix_str(f"{progress.tokens / max(progress.elapsed_s, 1e-9):,.0f} tokens/s")
            bar.refresh()

        yield show


def _reported_lines(label: str, report: Report) -> Callable[[Progress], None]:
    reported_s = 0.0

    def show(progress: Progress) -> None:
        nonlocal reported_s
        ended = progress.requests_done == progress.requests_total
        if ended or progress.elapsed_s - reported_s >= REPORT_INTERVAL_S:
            reported_s = progress.elapsed_s
            report(f"{label}: {progress}")

    return show

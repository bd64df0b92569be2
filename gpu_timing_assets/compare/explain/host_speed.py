"""Whether the engine's host was as fast in the real runs as when it was profiled.

Scheduling a step is Python alone: no kernel, no network, and with the requests of a step it takes a
known time. So the time that a real run's steps took to schedule, against what the bundle says of
steps of the same size, is a clock for the host. A machine that drifts shows here before anybody
doubts the simulation, and a simulation cannot know of it.
"""

import numpy as np
import pandas as pd

from gpu_timing_assets.compare.gate.align import Aligned
from gpu_timing_assets.compare.result_table import Column, table

HOST_SPEED = table(
    "host_speed",
    Column("run_id", "the real run"),
    Column("steps", "its steps of a size that the simulation has too", "steps"),
    Column("real_us", "median time to schedule one of them", "µs"),
    Column("profiled_us", "median of what the bundle says of the same steps", "µs"),
    Column("host_time_ratio", "median of real / profiled: above 1 the host was slower"),
)
SIZE_EDGES = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 1 << 30)
MIN_STEPS = 20
# a bundle's own fits of the host miss by 10 to 15 % on bursts that they have not seen
NOTEWORTHY_PCT = 15.0


def host_speed(aligned: Aligned, judged: str) -> pd.DataFrame:
    """One row a real run with recorded steps; none if the judged simulation models no host."""
    simulated = aligned.simulation(judged).run.steps
    if simulated is None:
        return HOST_SPEED.frame([])
    expected = _schedule_us(simulated).groupby(["size", "prefill"])["us"].agg(["median", "size"])
    usable = (expected["size"] >= MIN_STEPS) & (expected["median"] > 0)
    known = expected.loc[usable, "median"].rename("expected")
    rows = []
    for real in aligned.real:
        if real.run.steps is None:
            continue
        steps = _schedule_us(real.run.steps).join(known, on=["size", "prefill"])
        steps = steps.dropna(subset=["expected"])
        if len(steps) >= MIN_STEPS:
            rows.append(
                dict(
                    run_id=real.run.meta.run_id,
                    steps=len(steps),
                    real_us=float(steps["us"].median()),
                    profiled_us=float(steps["expected"].median()),
                    host_time_ratio=float((steps["us"] / steps["expected"]).median()),
                )
            )
    return HOST_SPEED.frame(rows)


def host_note(table: pd.DataFrame) -> str | None:
    """A sentence if the host was noticeably faster or slower in a run than when it was profiled."""
    ratios = table["host_time_ratio"]
    if not ((ratios - 1).abs() > NOTEWORTHY_PCT / 100).any():
        return None
    span = (
        f"{ratios.min():.2f}" if len(ratios) == 1 else f"{ratios.min():.2f} to {ratios.max():.2f}"
    )
    return (
        f"scheduling steps of the same size took the real engine {span} times as long as when it "
        "was profiled: the machine's CPU was not as fast as then, and where the host sets the pace "
        "so much of the error is not the simulator's. Profile again beside the real runs, on a "
        "machine that is quiet"
    )


def _schedule_us(steps: pd.DataFrame) -> pd.DataFrame:
    requests = steps["num_prefill_requests"] + steps["num_decode_requests"]
    busy = steps[requests > 0]
    return pd.DataFrame(
        {
            "size": np.digitize(requests[requests > 0], SIZE_EDGES, right=True),
            "prefill": (busy["num_prefill_requests"] > 0).to_numpy(),
            "us": ((busy["schedule_end_ns"] - busy["schedule_begin_ns"]) / 1e3).to_numpy(),
        }
    )

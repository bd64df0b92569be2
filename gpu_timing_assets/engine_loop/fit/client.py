"""Fits `client.ClientTiming` on what the client and the engine saw of the bursts' requests."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from gpu_timing_assets.engine_loop.client import ClientTiming, through_front_end
from gpu_timing_assets.engine_loop.fit.fit_time import MIN_ROWS, fit_time
from gpu_timing_assets.engine_loop.fit.rows import SUSTAINED
from gpu_timing_assets.engine_loop.fitted_time import FittedTime

PROMPT_FEATURES, OUTPUT_FEATURES = ("num_prefill_tokens",), ("num_outputs",)


def fit_client_timing(
    derived: pd.DataFrame, requests: pd.DataFrame, rows: Mapping[str, pd.DataFrame]
) -> tuple[ClientTiming, float]:
    """From `derive_steps`, `burst_requests` and `fit_rows`; and by how much later an engine that
    sleeps can schedule a request (ms).

    Raises ValueError if a part has too few rows.
    """
    requests = _with_front_end(requests)
    came = requests[requests["kind"].isin(SUSTAINED)]
    waited = came[came["waited"]]
    front_end = fit_time(came[~came["waited"]], PROMPT_FEATURES, "front_end_ms")
    request_in, wake_up_ms = _fit_request_in(rows["client_in"], derived, requests)
    timing = ClientTiming(
        front_end=front_end,
        # where bursts without a crowd do not show it
        front_end_queued=front_end
        if len(waited) < MIN_ROWS
        else fit_time(waited, PROMPT_FEATURES, "front_end_ms"),
        request_in=request_in,
        first_token_out=fit_time(rows["client_out"], OUTPUT_FEATURES, "out_first_ms"),
        first_token_out_after_idle=fit_time(
            rows["client_out_after_idle"], OUTPUT_FEATURES, "out_first_ms"
        ),
        token_spread=fit_time(rows["client_out_spread"], OUTPUT_FEATURES, "out_spread_ms"),
    )
    return timing, wake_up_ms


def _with_front_end(requests: pd.DataFrame) -> pd.DataFrame:
    """With `front_end_ms`, `through_ns`: when the front end was through with each request, and
    `waited`: whether it waited for another.
    """
    bursts = []
    for _, burst in requests.groupby("burst", sort=False):
        # a clock of its own: floats do not hold the monotonic clock's nanoseconds
        origin_ns = burst["arrival_ns"].min()
        busy_ns = burst["front_end_ns"].to_numpy()
        arrival_ns = (burst["arrival_ns"] - origin_ns).to_numpy()
        through_ns, waited = through_front_end(arrival_ns, busy_ns, busy_ns)
        bursts.append(
            burst.assign(
                front_end_ms=busy_ns / 1e6,
                through_ns=origin_ns + through_ns.round().astype("int64"),
                waited=waited,
            )
        )
    return pd.concat(bursts)


def _fit_request_in(
    to_idle: pd.DataFrame, derived: pd.DataFrame, requests: pd.DataFrame
) -> tuple[FittedTime, float]:
    """From the front end into an engine that runs, and how much longer an idle one takes (ms).

    A running engine takes a request at the first schedule after it has come in, so each request
    bounds it from both sides: it had not come in at the schedule before, and had at its own.
    The level that most requests agree with is taken; the spread is that of requests to an idle
    engine.
    """
    idle = fit_time(to_idle, PROMPT_FEATURES, "in_ms")
    busy = requests[requests["kind"].isin(SUSTAINED) & (requests["num_in_flight"] > 0)]
    begins = np.sort(derived["schedule_begin_ns"].to_numpy())
    own = busy["first_schedule_begin_ns"].to_numpy()
    before = begins[np.maximum(np.searchsorted(begins, own) - 1, 0)]
    through_ns = busy["through_ns"]
    lower, upper = (before - through_ns) / 1e6, (own - through_ns) / 1e6
    known = (before < own) & (upper > 0)
    if known.sum() < MIN_ROWS:
        return idle, 0.0
    levels = np.arange(0.05, 8.0, 0.05)
    above, below = lower[known].to_numpy()[:, None], upper[known].to_numpy()[:, None]
    agree = ((above < levels) & (levels <= below)).sum(axis=0)
    level_ms = min(float(np.median(levels[agree == agree.max()])), idle.coefficients[0])
    running = replace(idle, coefficients=(level_ms, *idle.coefficients[1:]))
    return running, idle.coefficients[0] - level_ms

"""Fits `client.ClientTiming` on what the client and the engine saw of the bursts' requests."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from gpu_timing_assets.engine_loop.client import ClientTiming
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
    came = requests[requests["kind"].isin(SUSTAINED)]
    front_end = came.assign(front_end_ms=came["front_end_ns"] / 1e6)
    request_in, wake_up_ms = _fit_request_in(rows["client_in"], derived, requests)
    timing = ClientTiming(
        front_end=fit_time(front_end, PROMPT_FEATURES, "front_end_ms"),
        request_in=request_in,
        first_token_out=fit_time(rows["client_out"], OUTPUT_FEATURES, "out_first_ms"),
        first_token_out_after_idle=fit_time(
            rows["client_out_after_idle"], OUTPUT_FEATURES, "out_first_ms"
        ),
        token_spread=fit_time(rows["client_out_spread"], OUTPUT_FEATURES, "out_spread_ms"),
    )
    return timing, wake_up_ms


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
    through_ns = busy["arrival_ns"] + busy["front_end_ns"]
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

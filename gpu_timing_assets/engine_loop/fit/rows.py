"""Which rows of the bursts each fit stands on: the fits take them, a profile counts them."""

from dataclasses import dataclass

import pandas as pd

# a burst that no fit may see: the bundle is tested on it
HELD_OUT = "held_out"
# bursts whose requests come while others are served, as they do in a workload; and those whose
# engine does not run out of work between two steps
SUSTAINED, NEVER_IDLE = ("inject", "storm"), ("decode", "inject")


@dataclass(frozen=True)
class FitRows:
    """The rows of one fit; `kind` of burst yields them, `what` names them for a person."""

    kind: str
    what: str
    rows: pd.DataFrame


def fit_rows(durations: pd.DataFrame, requests: pd.DataFrame) -> dict[str, FitRows]:
    """From `durations.step_durations` and the `burst_requests` of the same bursts.

    `mixed` is no fit of its own: without such steps the launches with prompt tokens are not known
    beside decoding requests.
    """
    with_prompt = durations["num_prefill_tokens"] > 0
    after_idle = durations[(durations["kind"] == "idle") & with_prompt & durations["after_idle"]]
    seen = with_client_delays(durations[durations["num_outputs"] > 0])
    several = seen[(seen["num_outputs"] > 1) & (seen["out_spread_ms"] > 0)]
    alone = requests[(requests["kind"] == "idle") & (requests["num_in_flight"] == 0)]
    through_ns = alone["arrival_ns"] + alone["front_end_ns"]
    in_ms = (alone["first_schedule_begin_ns"] - through_ns) / 1e6
    at_once = durations[durations["kind"].isin(NEVER_IDLE) & durations["gap_ms"].notna()]
    mixed = durations[with_prompt & (durations["num_decode_requests"] > 0)]
    first_seen = "first steps of an idle engine whose token the client saw"
    return {
        "gap": FitRows("decode", "steps that follow each other at once", at_once),
        "client_out": FitRows("decode", "steps whose tokens the client saw", seen),
        "client_out_spread": FitRows(
            "decode", "steps whose several tokens the client saw", several
        ),
        "client_in": FitRows("idle", "requests to an idle engine", alone.assign(in_ms=in_ms)),
        "after_idle": FitRows("idle", "first steps of an idle engine", after_idle),
        "client_out_after_idle": FitRows("idle", first_seen, with_client_delays(after_idle)),
        "mixed": FitRows("inject", "steps with prompts beside decoding requests", mixed),
    }


def with_client_delays(steps: pd.DataFrame) -> pd.DataFrame:
    """With `out_first_ms` (result → first token at the client) and `out_spread_ms` (→ last)."""
    seen = steps.dropna(subset=["client_first_ns", "client_last_ns"])
    first_ns = (seen["client_first_ns"] - seen["update_end_ns"]).astype(float).clip(1e3)
    spread_ns = (seen["client_last_ns"] - seen["client_first_ns"]).astype(float)
    return seen.assign(out_first_ms=first_ns / 1e6, out_spread_ms=spread_ns / 1e6)

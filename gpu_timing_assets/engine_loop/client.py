"""Client latency: from the client through the front end into the engine, and from a step's result
back to it.
"""

from dataclasses import dataclass

import numpy as np

from gpu_timing_assets.engine_loop.fitted_time import FittedTime


@dataclass(frozen=True)
class ClientTiming:
    """By prompt tokens: `front_end` is what the engine's front end takes for a request, one after
    the other, `front_end_queued` for one that waited for another (its code and data are warm then);
    `request_in` from there on until the engine can schedule it.

    By requests with a token in the step: `first_token_out` is its result → the first of them at the
    client (`…_after_idle`: one that slept), `token_spread` from there → the last.
    """

    front_end: FittedTime
    front_end_queued: FittedTime
    request_in: FittedTime
    first_token_out: FittedTime
    first_token_out_after_idle: FittedTime
    token_spread: FittedTime

    @classmethod
    def none(cls) -> "ClientTiming":
        """Of a client inside the engine."""
        nothing = FittedTime(("anything",), (0.0, 0.0), np.ones(1), 0)
        return cls(nothing, nothing, nothing, nothing, nothing, nothing)


def through_front_end(
    arrival: np.ndarray, alone: np.ndarray, queued: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """When the front end is through with each request, and which waited for another; shapes
    (requests,), in any order.

    One that comes when nobody is served takes it as long as `alone` says, another as `queued` says.
    """
    through, waited = np.empty(len(arrival)), np.zeros(len(arrival), dtype=bool)
    free = -np.inf
    for request in np.argsort(arrival, kind="stable"):
        waited[request] = arrival[request] < free
        busy = (queued if waited[request] else alone)[request]
        free = through[request] = max(arrival[request], free) + busy
    return through, waited


class ClientLatency:
    """Draws from a `ClientTiming`; arrays in, arrays out, in seconds."""

    def __init__(self, timing: ClientTiming, rng: np.random.Generator) -> None:
        self._timing, self._rng = timing, rng

    def visible_s(self, arrival_s: np.ndarray, num_prompt_tokens: np.ndarray) -> np.ndarray:
        """When the engine can schedule each request that arrives then; shapes (requests,), in any
        order.
        """
        fits = self._timing.front_end, self._timing.front_end_queued
        alone_s, queued_s = (self._by_prompt_s(fitted, num_prompt_tokens) for fitted in fits)
        through_s, _ = through_front_end(arrival_s, alone_s, queued_s)
        visible_s: np.ndarray = through_s + self._by_prompt_s(
            self._timing.request_in, num_prompt_tokens
        )
        return visible_s

    def token_out_s(
        self, num_outputs: np.ndarray, position: np.ndarray, after_idle: np.ndarray
    ) -> np.ndarray:
        """From a step's result to each of its tokens at the client, which takes them one after the
        other.

        By how many requests got a token in the step, which of them this is, and whether the engine
        had been idle; shapes (tokens,), step by step.
        """
        step = np.cumsum(position == 0)
        share = position / np.maximum(num_outputs - 1, 1)
        spread = self._by_step(self._timing.token_spread, num_outputs, step) * (num_outputs > 1)
        running = self._by_step(self._timing.first_token_out, num_outputs, step)
        asleep = self._by_step(self._timing.first_token_out_after_idle, num_outputs, step)
        delay_s: np.ndarray = (np.where(after_idle, asleep, running) + share * spread) / 1e3
        return delay_s

    def _by_prompt_s(self, fitted: FittedTime, num_prompt_tokens: np.ndarray) -> np.ndarray:
        level = fitted.coefficients[0] + fitted.coefficients[1] * num_prompt_tokens
        time_s: np.ndarray = level * self._ratios(fitted, len(level)) / 1e3
        return time_s

    def _by_step(self, fitted: FittedTime, num_outputs: np.ndarray, step: np.ndarray) -> np.ndarray:
        level = fitted.coefficients[0] + fitted.coefficients[1] * num_outputs
        time_ms: np.ndarray = level * self._ratios(fitted, int(step.max(initial=0)) + 1)[step]
        return time_ms

    def _ratios(self, fitted: FittedTime, count: int) -> np.ndarray:
        ratios: np.ndarray = fitted.ratios[self._rng.integers(0, len(fitted.ratios), count)]
        return ratios

"""Users who wait for an answer before they ask again."""

from typing import ClassVar, Literal

from pydantic import Field

from gpu_timing_assets.config.workload import ArrivalProcess
from gpu_timing_assets.workload.draw_context import DrawContext
from gpu_timing_assets.workload.requests import Arrivals, ClosedLoop


class ClosedLoopArrivals(ArrivalProcess):
    """Users each of whom sends the next request a think time after the last one's completion."""

    has_duration: ClassVar[bool] = False

    kind: Literal["closed_loop"]

    users: int = Field(ge=1, le=100_000)
    """Number of users, and so the largest number of requests in the engine at a time."""

    think_time: Literal["fixed", "exponential"] = "exponential"
    """Distribution of the think times."""

    think_time_s: float = Field(ge=0, le=1e6)
    """Mean think time in seconds, from a completion to the same user's next request."""

    def count_within(self, context: DrawContext, duration_s: float | None) -> None:
        """As many as there are: how long they take is the engine's to say."""

    def arrivals(self, context: DrawContext, count: int) -> Arrivals:
        """In the order of the earliest times; requests are dealt to the users in turn: user u sends
        requests u, u + users, u + 2·users …
        """
        import numpy as np

        from gpu_timing_assets.workload.exact_math import log
        from gpu_timing_assets.workload.unit_rate import to_ns

        unit = (
            -log(context.stream("think_times").uniform(count))
            if self.think_time == "exponential"
            else np.ones(count)
        )
        think_ns = to_ns(unit * self.think_time_s)
        user = np.arange(count, dtype=np.int64) % self.users
        requests_per_user = -(-count // self.users)
        table = np.zeros(requests_per_user * self.users, dtype=np.int64)
        table[:count] = think_ns
        per_user = table.reshape(requests_per_user, self.users)
        earliest_ns = np.cumsum(per_user, axis=0).reshape(-1)[:count]
        order = np.argsort(earliest_ns, kind="stable")
        return Arrivals(earliest_ns[order], ClosedLoop(user[order], think_ns[order]))


PLUGIN = ClosedLoopArrivals

"""Whether the client keeps its schedule: 200 requests a second of 300 tokens each, about 100
streams at once.

`python benchmarks/replay_under_load.py [--rate 200] [--tokens 300] [--streams 100] [--seconds 15]
[--repeats 3]`

The engine is the null engine, which computes nothing and gives each request a token at fixed
intervals, so that what is late is the client. Exits with 1 if the median p99 of the submissions'
lateness is above 5 ms.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from gpu_timing_assets.config.experiment import compose
from gpu_timing_assets.engines.null.engine import NullEngine
from gpu_timing_assets.engines.replay import PlannedRequest, replay

MAX_LATENESS_P99_MS = 5.0


def measure(
    rate_per_s: float, tokens: int, streams: int, seconds: float, seed: int
) -> tuple[float, float, float, float, float]:
    """Lateness p50, p99 and max in ms, the client's share of one CPU, and the mean number of
    streams at once.
    """
    # by Little's law, streams = rate × duration of one
    interval_ms = streams / rate_per_s * 1e3 / tokens
    config = compose(["backend=null_engine", f"backend.null_token_interval_ms={interval_ms}"])
    engine = NullEngine(config, Path(tempfile.gettempdir()), "null")
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(1e9 / rate_per_s, round(rate_per_s * seconds))).astype(int)
    prompt = list(range(256))
    planned = [
        PlannedRequest(f"r.{index}", int(at), prompt, tokens) for index, at in enumerate(arrivals)
    ]
    result = asyncio.run(replay(engine, planned))
    assert len(result.token_ns) == len(planned) * tokens
    assert not result.errors
    lateness_ms = (result.submit_ns - result.arrival_ns) / 1e6
    last_ns = np.zeros(len(planned))
    np.maximum.at(last_ns, result.token_request, result.token_ns)
    alive = float((last_ns - result.submit_ns).sum() / (last_ns.max() - arrivals[0]))
    return (
        *(float(np.percentile(lateness_ms, rank)) for rank in (50, 99, 100)),
        result.client_cpu_share,
        alive,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=200, help="requests per second")
    parser.add_argument("--tokens", type=int, default=300, help="output tokens of each request")
    parser.add_argument("--streams", type=int, default=100, help="requests in flight, on average")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    rows = [
        measure(asked.rate, asked.tokens, asked.streams, asked.seconds, seed)
        for seed in range(asked.repeats)
    ]
    print(
        f"{asked.rate:g} requests/s × {asked.tokens} tokens, {asked.seconds:g} s, medians of "
        f"{asked.repeats} repeats"
    )
    for name, column in zip(("p50", "p99", "max"), zip(*rows, strict=True), strict=False):
        print(
            f"submission lateness {name:4} {statistics.median(column):8.3f} ms   "
            f"({min(column):.3f} to {max(column):.3f})"
        )
    print(f"client CPU share         {statistics.median(row[3] for row in rows):8.3f} of one core")
    print(f"streams at once          {statistics.median(row[4] for row in rows):8.1f}")
    p99 = statistics.median(row[1] for row in rows)
    print(f"p99 is {p99 / MAX_LATENESS_P99_MS:.2f} × the bound of {MAX_LATENESS_P99_MS:g} ms")
    sys.exit(p99 > MAX_LATENESS_P99_MS)


if __name__ == "__main__":
    main()

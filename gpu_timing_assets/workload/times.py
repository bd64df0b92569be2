"""Times of a workload: integer nanoseconds since its start, or since a trace's first row."""

NS_PER_S = 1_000_000_000
LAST_TIME_NS = 2**62

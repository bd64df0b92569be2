"""Bar charts as Markdown images of under 1,000 characters, which Dagster's page shows inline."""

from collections.abc import Sequence
from urllib.parse import quote

import dagster as dg

MAX_BARS = 32
HEIGHT = 30


def sparkline(values: Sequence[float], caption: str) -> dg.MarkdownMetadataValue:
    """`values` as at most `MAX_BARS` bars from zero: each group's largest, under `caption`."""
    bars = _reduce([max(0.0, float(value)) for value in values])
    top = max(bars, default=0.0) or 1.0
    path = "".join(
        f"M{4 * i + 2},{HEIGHT}v-{max(1, round(HEIGHT * bar / top))}" for i, bar in enumerate(bars)
    )
    svg = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{8 * len(bars)}' height='{2 * HEIGHT}' "
        f"viewBox='0 0 {4 * len(bars) or 1} {HEIGHT}'><path d='{path}' stroke='#4b6bfb' "
        f"stroke-width='3'/></svg>"
    )
    address = "data:image/svg+xml," + quote(svg, safe="'=:/,-")
    return dg.MetadataValue.md(f"![{caption}]({address})\n\n{caption}")


def histogram(values: Sequence[float], bins: int = 24) -> list[float]:
    """How many values fall into each of `bins` equal parts from the smallest to the largest."""
    if not values:
        return []
    low, high = min(values), max(values)
    width = (high - low) / bins or 1.0
    counts = [0.0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / width))] += 1
    return counts


def _reduce(values: list[float]) -> list[float]:
    if len(values) <= MAX_BARS:
        return values
    return [
        max(values[i * len(values) // MAX_BARS : (i + 1) * len(values) // MAX_BARS])
        for i in range(MAX_BARS)
    ]

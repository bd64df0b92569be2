"""How charts look: colours, scales and the data that they are given.

Colours come from the page's theme (Okabe & Ito's palette, which the colour-blind can tell apart,
one set for light and one for dark), so charts name the category and not its colour; lines differ by
dash as well.
"""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from gpu_timing_assets.core.comparison import VERDICTS

REAL = "real"
CATEGORY = {
    "light": ["#222222", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8C6D1F"],
    "dark": ["#f2f2f2", "#56B4E9", "#E69F00", "#2FD6A8", "#E79CC7", "#F0E442"],
}
DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [1, 3], [12, 4]]
VERDICT_COLOURS = ["#2b8fd0", "#808890", "#d9a400", "#e0561f"]
VERDICT_SHAPES = ["circle", "square", "triangle-up", "cross"]


def theme(mode: str) -> dict[str, Any]:
    """The Vega-Lite `config` of the `light` or `dark` page."""
    text, faint, grid = (
        ("#1f2328", "#57606a", "#e4e7eb") if mode == "light" else ("#e6edf3", "#9da7b3", "#30363d")
    )
    return {
        "background": "white" if mode == "light" else "#0d1117",
        "font": "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif",
        "view": {"stroke": None},
        "axis": {
            **{"labelColor": faint, "titleColor": text, "titleFontWeight": "normal"},
            **dict.fromkeys(("gridColor", "domainColor", "tickColor"), grid),
            **dict.fromkeys(("labelFontSize", "titleFontSize"), 11),
        },
        "legend": {
            **{"labelColor": text, "titleColor": text, "labelFontSize": 12, "labelLimit": 260},
            **{"symbolStrokeWidth": 2.5, "symbolSize": 120, "symbolOpacity": 1},
            **{"orient": "top", "title": None},
        },
        "title": {
            **{"color": text, "subtitleColor": faint, "fontSize": 13, "fontWeight": 600},
            "anchor": "start",
        },
        "header": {"labelColor": text, "titleColor": text},
        **{mark: {"color": text} for mark in ("text", "rule", "tick")},
        "range": {"category": CATEGORY[mode]},
    }


def records(frame: pd.DataFrame) -> alt.InlineData:
    """A frame as inline data, figures rounded to five digits, what is not finite as null."""
    clean = frame.astype(object)
    for name in frame.columns:
        if frame[name].dtype.kind == "f":
            rounded = [
                float(f"{value:.5g}") if np.isfinite(value) else None for value in frame[name]
            ]
            clean[name] = pd.Series(rounded, index=frame.index, dtype=object)
    return alt.InlineData(
        values=[{str(key): value for key, value in row.items()} for row in clean.to_dict("records")]
    )


def tooltips(**formats: str) -> list[alt.Tooltip]:
    """Figures that show under the pointer, by the name of their column."""
    return [alt.Tooltip(f"{name}:Q", format=text) for name, text in formats.items()]


def series_colour(labels: list[str], *, line: bool = False) -> alt.Color:
    """Colour by series; the legend shows lines, dashed as they are, where `line`."""
    legend = alt.Legend(symbolType="stroke", symbolSize=500) if line else alt.Legend()
    return alt.Color("series:N", scale=alt.Scale(domain=[REAL, *labels]), legend=legend)


def series_dash(labels: list[str]) -> alt.StrokeDash:
    return alt.StrokeDash(
        "series:N", scale=alt.Scale(domain=[REAL, *labels], range=DASHES[: len(labels) + 1])
    )


def verdict_colour() -> alt.Color:
    scale = alt.Scale(domain=list(VERDICTS[:4]), range=VERDICT_COLOURS)
    return alt.Color("verdict:N", scale=scale)


def verdict_shape() -> alt.Shape:
    scale = alt.Scale(domain=list(VERDICTS[:4]), range=VERDICT_SHAPES)
    return alt.Shape("verdict:N", scale=scale)


def value_scale(values: np.ndarray, domain: np.ndarray | None = None) -> alt.Scale:
    """Logarithmic where the values span more than a factor of 15; `domain` is the axis's range."""
    ends: Any = alt.Undefined if domain is None else [float(domain.min()), float(domain.max())]
    positive = values[values > 0]
    wide = len(positive) == len(values) and len(values) and positive.max() / positive.min() > 15
    if wide:
        return alt.Scale(type="log", nice=False, padding=6, domain=ends)
    return alt.Scale(zero=False, nice=False, padding=6, domain=ends)

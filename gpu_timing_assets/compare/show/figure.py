"""A chart under its name, with what a page writes over it."""

import json
import re
from dataclasses import dataclass
from typing import Any

import altair as alt


@dataclass(frozen=True)
class Figure:
    """`name`: of its files; `title` and `caption` stand over it in the report."""

    name: str
    title: str
    caption: str
    chart: alt.TopLevelMixin

    def specification(self) -> dict[str, Any]:
        """Vega-Lite JSON, its views numbered in it alone: Altair counts over all it has made."""
        text = json.dumps(self.chart.to_dict(), sort_keys=True)
        for kind in ("view", "param", "concat", "layer"):
            names = list(dict.fromkeys(re.findall(rf'"({kind}_\d+)"', text)))
            for number, name in enumerate(names):
                text = text.replace(f'"{name}"', f'"{kind}-{number}"')
        specification: dict[str, Any] = json.loads(text)
        return specification

"""What every page is made of: templates, the chart library, JSON that may stand in a script."""

import json
from pathlib import Path
from typing import Any

import jinja2
import vl_convert

from gpu_timing_assets.compare.show.text import figure_text, interval_text, signed_pct, unsigned_pct
from gpu_timing_assets.compare.show.theme import theme

TEMPLATES = Path(__file__).parent / "templates"


def templates() -> jinja2.Environment:
    """Templates with every text escaped."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    made.filters.update(
        signed_pct=signed_pct, unsigned_pct=unsigned_pct, interval=interval_text, figure=figure_text
    )
    return made


def vega_bundle() -> str:
    """Vega, Vega-Lite and the code that draws a chart, as a script that loads nothing further."""
    return vl_convert.javascript_bundle()  # type: ignore[call-arg]  # the stub misses its default


def inline_script(script: str) -> str:
    """The script as it may stand inside a page's `<script>` element."""
    return script.replace("</script", "<\\/script")


def script_json(value: Any) -> str:
    """JSON that may stand inside a `<script>` element, whatever its strings hold."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e")


def themes_json() -> str:
    return script_json({mode: theme(mode) for mode in ("light", "dark")})

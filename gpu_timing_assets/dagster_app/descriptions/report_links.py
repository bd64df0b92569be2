"""Addresses under which the reports server shows what lies in the data root."""

from pathlib import Path

import dagster as dg

from gpu_timing_assets.config.settings import load_settings
from gpu_timing_assets.reports_server import SERVED


def report_link(file: Path) -> dg.UrlMetadataValue:
    """A link that opens while `make dev` or `make reports` runs; `file`: `<data root>/<kind>/…`."""
    position = max(i for i, part in enumerate(file.parts) if part in SERVED)
    return dg.MetadataValue.url(f"{load_settings().reports_url}/{'/'.join(file.parts[position:])}")

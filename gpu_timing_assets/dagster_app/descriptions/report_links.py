"""Addresses under which the reports server shows what lies in the data root."""

from pathlib import Path

import dagster as dg

from gpu_timing_assets.config.settings import load_settings


def report_link(file: Path) -> dg.UrlMetadataValue:
    """A link that a browser opens while `make dev` or `make reports` runs; `file` is `<data
    root>/<kind>/…`.
    """
    kinds = ("comparisons", "fidelity_matrix")
    position = next(i for i, part in reversed(list(enumerate(file.parts))) if part in kinds)
    return dg.MetadataValue.url(f"{load_settings().reports_url}/{'/'.join(file.parts[position:])}")

"""Rows as a table that Dagster's page shows inline."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg


def metadata_table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """All rows have the first one's keys; floats are rounded to what a person reads."""
    records = [dg.TableRecord({key: _cell(value) for key, value in row.items()}) for row in rows]
    first = rows[0] if rows else {"nothing": ""}
    columns = [
        dg.TableColumn(name, "float" if isinstance(value, float) else "string")
        for name, value in first.items()
    ]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns))


def _cell(value: Any) -> str | int | float | bool | None:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    return value if value is None or isinstance(value, str | int | bool) else str(value)

"""Rows as a table that Dagster's page shows inline."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg


def metadata_table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """All rows have the first one's keys; floats are rounded to what a person reads."""
    records = [dg.TableRecord({key: _cell(value) for key, value in row.items()}) for row in rows]
    names = list(rows[0]) if rows else ["nothing"]
    return dg.MetadataValue.table(
        records,
        schema=dg.TableSchema(
            [
                dg.TableColumn(
                    name, "float" if rows and isinstance(rows[0][name], float) else "string"
                )
                for name in names
            ]
        ),
    )


def _cell(value: Any) -> str | int | float | bool | None:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    return value if value is None or isinstance(value, str | int | bool) else str(value)

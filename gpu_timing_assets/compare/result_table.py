"""A table that a comparison writes: what its columns mean stands beside the code that fills it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Column:
    name: str
    meaning: str
    unit: str = ""


@dataclass(frozen=True)
class ResultTable:
    """One kind of table, `<name>.csv`; equal by name, since some columns depend on the metrics."""

    name: str
    columns: tuple[Column, ...] = field(compare=False)

    def frame(self, rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
        """The rows under the table's columns. Raises `ValueError` for a row that has others."""
        names = [column.name for column in self.columns]
        data = list(rows)
        for row in data:
            if row.keys() != set(names):
                raise ValueError(f"{self.name}: a row has {sorted(row)}, not {names}")
        return pd.DataFrame(data, columns=names)


def table(name: str, *columns: Column) -> ResultTable:
    return ResultTable(name, columns)


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    frame.to_csv(path, index=False, lineterminator="\n", encoding="utf-8", float_format="%.9g")


SIMULATION = Column("simulation", "short name of the simulation: its predictor")
METRIC = Column("metric", "a metric's name: see the rows of the table `metrics`")
STATISTIC = Column("statistic", "mean, percentile (linear between order statistics) or rate")
OF_STATISTIC = (SIMULATION, METRIC, STATISTIC)
ERROR_PCT = Column("error_pct", "100 · (simulated − real) / real", "%")
RUN_ID = Column("run_id", "the run")
SIDE = Column("side", "real or simulated")

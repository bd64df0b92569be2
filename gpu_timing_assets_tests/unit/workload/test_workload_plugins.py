"""An arrival process and a trace format are each added by one file that touches no other."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gpu_timing_assets.config.experiment import ExperimentConfig, compose
from gpu_timing_assets.config.workload import WorkloadPreset
from gpu_timing_assets.core.errors import PresetError
from gpu_timing_assets.core.tables.invariants import read_workload_tables
from gpu_timing_assets.workload import arrivals, run, traces

PAIRS = '''
from typing import Literal

from gpu_timing_assets.workload.arrivals.point_process import PointProcess


class PairArrivals(PointProcess):
    """Two requests at a time."""

    kind: Literal["pairs"]

    every_s: float
    """Seconds from one pair to the next."""

    def draw(self, seed, count):
        import numpy as np

        return np.arange(count) // 2 * int(self.every_s * 1_000_000_000)


PLUGIN = PairArrivals
'''
GATEWAY = """
from gpu_timing_assets.workload.traces.trace_format import CsvTrace, TraceColumns

PLUGIN = CsvTrace(
    name="gateway",
    title="A gateway's log",
    licence="CC0",
    columns=TraceColumns(time="at_ms", time_unit_ns=1_000_000, prefill="in", decode="out"),
)
"""
PAIRS_OVERRIDES = (
    "workload=mix_rate_10",
    "workload.workload_id=paired",
    "workload.arrivals.kind=pairs",
    "+workload.arrivals.every_s=0.5",
    "~workload.arrivals.rate_per_s=10",
    "workload.duration_s=2",
    "workload.min_requests=1",
)


def rebuild() -> None:
    """A process finds its plug-ins once; the tests' own come and go."""
    WorkloadPreset.model_rebuild(force=True)
    ExperimentConfig.model_rebuild(force=True)


@pytest.fixture
def add_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[ModuleType, str, str], None]]:
    """`add_file(room, name, code)`: one more module in a room."""
    added = []

    def add(room: ModuleType, name: str, code: str) -> None:
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.setattr(room, "__path__", [*room.__path__, str(tmp_path)])
        added.append(f"{room.__name__}.{name}")
        rebuild()

    yield add
    monkeypatch.undo()
    for name in added:
        sys.modules.pop(name, None)
    rebuild()


def made(
    tmp_path: Path, overrides: Sequence[str], workload: Mapping[str, Any] | None = None
) -> tuple[list[int], list[int]]:
    """Prompt tokens and arrival times of the whole workload, composed, written and read back."""
    config = compose([*overrides, f"data_root={tmp_path}"], {"workload": workload or {}})
    out = config.data.workload_dir(config.workload.workload_id)
    assert run(config, out).source["kind"] == config.workload.source.kind
    lengths, intervals = read_workload_tables(out)
    return lengths["num_prefill_tokens"].tolist(), intervals["arrival_time_ns"].tolist()


def test_an_arrival_process_is_one_file_in_its_room(
    add_file: Callable[..., None], tmp_path: Path
) -> None:
    add_file(arrivals, "pairs", PAIRS)
    _, times_ns = made(tmp_path, PAIRS_OVERRIDES)
    assert times_ns == [second * 500_000_000 for second in (0, 0, 1, 1, 2, 2, 3, 3, 4, 4)]


def test_an_arrival_process_is_one_entry_point_of_another_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "another_package.py").write_text(PAIRS)
    information = tmp_path / "another_package-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: another_package\nVersion: 1\n"
    )
    (information / "entry_points.txt").write_text(
        "[gpu_timing_assets.arrivals]\npairs = another_package:PLUGIN\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    rebuild()
    try:
        _, times_ns = made(tmp_path, PAIRS_OVERRIDES)
    finally:
        monkeypatch.undo()
        sys.modules.pop("another_package", None)
        rebuild()
    assert len(times_ns) == 10


def test_a_new_arrival_process_is_checked_and_shown_as_every_other(
    add_file: Callable[..., None],
) -> None:
    from gpu_timing_assets.dagster_app.preset_schema import as_changes, override_schema

    add_file(arrivals, "pairs", PAIRS)
    with pytest.raises(PresetError, match=r"workload.arrivals.pairs.every_s: Field required"):
        compose(["workload=mix_rate_10"], {"workload": {"arrivals": {"kind": "pairs"}}})
    selector = override_schema({"workload": WorkloadPreset}).fields["arrivals"].config_type
    shown = selector.fields["pairs"]
    assert shown.description == "Two requests at a time."
    assert shown.config_type.fields["every_s"].description == "Seconds from one pair to the next."
    overrides = {"arrivals": {"pairs": {"every_s": 2.0}}}
    chosen = as_changes({"workload": WorkloadPreset}, "workload", overrides)
    assert chosen == {"arrivals": {"kind": "pairs", "every_s": 2.0}}


def test_a_trace_format_is_one_file_in_its_room(
    add_file: Callable[..., None], tmp_path: Path
) -> None:
    add_file(traces, "gateway", GATEWAY)
    log = tmp_path / "log.csv"
    log.write_text("at_ms,in,out\n100,7,3\n350,9,4\n")
    selection = {"kind": "trace", "format": "gateway", "path": str(log)}
    prefill, times_ns = made(
        tmp_path,
        ["workload=smoke", "workload.workload_id=logged"],
        {
            "source": selection,
            "arrivals": {"kind": "trace"},
            "decode_lengths": None,
            "num_requests": None,
        },
    )
    assert (prefill, times_ns) == ([7, 9], [0, 250_000_000])


def test_an_unknown_format_or_kind_is_an_error_that_lists_the_known_ones() -> None:
    def compose_with(**source: str) -> ExperimentConfig:
        return compose(["workload=smoke"], {"workload": {"source": source}})

    with pytest.raises(PresetError, match=r"no trace format 'azur' \(known: azure_2023, azure_2"):
        compose_with(kind="trace", format="azur", path="x.csv")
    with pytest.raises(PresetError, match=r"'prompt_file', 'synthetic', 'trace'"):
        compose_with(kind="traces")

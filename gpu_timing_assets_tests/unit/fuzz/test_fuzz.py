"""Whatever happens to a file that a command reads, no figure changes in silence.

Each example spoils one file of a small world and runs the command that reads it, with the manifest
as it was (then the change is always refused) and with one made after the change, as a careless
sender would (then the readers' own checks are all there is). What they cannot see is a measured
value that another measurement could have given: a time in nanoseconds, a kernel's statistic. Of
what else decides a figure, every change is refused or without effect.

`FUZZ_SECONDS` spreads that time over the files with fresh examples; without it the examples are the
same each time.
"""

import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gpu_timing_assets.core.edge import UNEXPECTED
from gpu_timing_assets.core.manifest import MANIFEST_FILE
from gpu_timing_assets_tests.unit.fuzz.changes import Change, changed
from gpu_timing_assets_tests.unit.fuzz.world import Figures, World, make_world, spoilt

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
# by directory: `(file, command)` of each that is read from it
BUNDLE = "compute/h100/qwen3-tiny"
READ = (
    *(("bundle", name) for name in ("bundle_meta.json", "engine.json", "run_meta.json")),
    *(("bundle", name) for name in ("head.csv", f"{BUNDLE}/mlp.csv", f"{BUNDLE}/attention.csv")),
    *(("bundle", f"host/burst_{name}.csv") for name in ("steps", "requests", "tokens")),
    *(("workload", f"trace_{name}.csv") for name in ("lengths", "intervals")),
    ("workload", "workload_meta.json"),
    *(
        (run, name)
        for run in ("real run", "sim run")
        for name in (
            *("run_meta.json", "request_metrics.csv", "token_metrics.csv"),
            *("engine_steps.csv", "engine_batches.csv"),
        )
    ),
)
MANIFEST = [("bundle", MANIFEST_FILE), ("workload", MANIFEST_FILE), ("real run", MANIFEST_FILE)]
EXAMPLES = settings(
    deadline=None,
    max_examples=3,
    derandomize=not SECONDS,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("fuzz"))


@pytest.fixture(scope="module")
def healthy(world: World) -> dict[str, tuple[int, Figures]]:
    """What the commands say of the files as they are."""
    found = {"simulate": world.simulate(), "compare": world.compare()}
    assert [code for code, figures in found.values() if figures] == [0, 0]
    return found


@pytest.mark.parametrize(("where", "name"), [*READ, *MANIFEST], ids=" ".join)
def test_a_changed_file_is_refused_or_changes_no_figure(
    world: World,
    healthy: dict[str, tuple[int, Figures]],
    where: str,
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    directory = {
        **{"bundle": world.bundle, "workload": world.workload},
        **{"real run": world.real_runs[0], "sim run": world.sim_run},
    }[where]
    command = "simulate" if where in ("bundle", "workload") else "compare"
    run: Callable[[], tuple[int, Figures]] = getattr(world, command)
    content = (directory / name).read_bytes()
    until = time.monotonic() + SECONDS / len([*READ, *MANIFEST])

    @EXAMPLES
    @given(
        change=changed(content, Path(name).suffix, _in_its_place(world, directory, name)),
        listed_again=st.booleans(),
    )
    def hold(change: Change, listed_again: bool) -> None:
        assume(change.content != content)
        listed_again = listed_again and name != MANIFEST_FILE
        with spoilt(directory, name, change.content, listed_again=listed_again):
            capsys.readouterr()
            code, figures = run()
        told = capsys.readouterr().err
        assert code != UNEXPECTED, told
        if code:
            assert told.count("\n") == 1, told
        elif not listed_again:
            assert name == MANIFEST_FILE
            assert (code, figures) == healthy[command]
        elif (code, figures) != healthy[command]:
            assert is_another_measurement(name, content, change.content), change.how

    hold()
    while time.monotonic() < until:
        hold()


def _in_its_place(world: World, directory: Path, name: str) -> dict[str, bytes]:
    """What a sender may take for it: the other run's file, and the other tables beside it."""
    others = {path.name: path for path in (directory / name).parent.glob(f"*{Path(name).suffix}")}
    if directory == world.real_runs[0]:
        others[f"the other run's {name}"] = world.real_runs[1] / name
    return {other: path.read_bytes() for other, path in others.items() if other != Path(name).name}


def is_another_measurement(name: str, before: bytes, after: bytes) -> bool:
    """Whether two tables tell of the same things and differ in measured values alone."""
    if Path(name).suffix != ".csv":
        return False
    one, other = (pd.read_csv(io.BytesIO(content)) for content in (before, after))
    if list(one) != list(other) or len(one) != len(other):
        return False
    given = [column for column in one if not is_measured(column)]
    return one[given].equals(other[given])


def is_measured(column: str) -> bool:
    return column.startswith("time_stats.") or column.endswith("_ns")

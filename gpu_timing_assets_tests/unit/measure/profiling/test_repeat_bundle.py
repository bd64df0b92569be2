"""`vidur-profile --repeat`: how far the predictions of bundles of one target lie apart. What an
engine records is made by formula.
"""

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpu_timing_assets.cli import run_command
from gpu_timing_assets.config.experiment import ExperimentConfig, compose
from gpu_timing_assets.core.bundle import BUNDLE_META_FILE, ENGINE_FILE, BundleMeta
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.errors import EngineError, PresetError, ProfilingBundleError
from gpu_timing_assets.core.files import read_metadata, write_json
from gpu_timing_assets.core.run import RUN_META_FILE, ProfileRunMeta
from gpu_timing_assets.core.tables.schemas import BURST_STEPS
from gpu_timing_assets.engine_loop.bundle import Bundle, read_bundle
from gpu_timing_assets.measure.profiling import run_repeatedly
from gpu_timing_assets.measure.profiling.measure_bundle import installed_engine
from gpu_timing_assets.measure.profiling.repeat_bundle import repeat_roots, repeatability
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import engine_params, write_bundle

TARGET = ("hardware=cpu", "model=qwen3-tiny", "backend=vllm", "backend.max_model_len=512")
SHOWN = {"ITL p50", "TPOT mean", "E2E p50", "TTFT p50", "TTFT p90"}


@pytest.fixture
def config(tmp_path: Path) -> ExperimentConfig:
    return compose([*TARGET, f"data_root={tmp_path}"])


@pytest.fixture
def root(config: ExperimentConfig) -> Path:
    return config.profiling_root


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a synchronous engine; nobody writes to it."""
    config = compose([*TARGET])
    here = installed_engine(config)  # a bundle of another engine would be measured anew
    params = engine_params(
        config,
        engine_version=here.version or "0.26.0",
        native_library=here.native_library,
        async_scheduling=False,
        graph_mode="NONE",
        graph_capture_sizes=(),
    )
    return write_bundle(tmp_path_factory.mktemp("bundle") / "root", config, params)


@pytest.fixture
def write(bundle: Path) -> Callable[..., Path]:
    """`write(root, **changes)`: a copy of the bundle, with changes in its metadata."""

    def write_one(root: Path, **changes: Any) -> Path:
        shutil.copytree(bundle, root)
        engine = {name: changes[name] for name in EngineParams.model_fields.keys() & changes}
        params = read_metadata(root / ENGINE_FILE, EngineParams).model_copy(update=engine)
        write_json(root / ENGINE_FILE, params)
        profile = read_metadata(root / RUN_META_FILE, ProfileRunMeta)
        write_json(root / RUN_META_FILE, profile.model_copy(update={"params": params}))
        meta = read_metadata(root / BUNDLE_META_FILE, BundleMeta)
        write_json(root / BUNDLE_META_FILE, meta.model_copy(update=changes))
        return root

    return write_one


class Started(EngineError):
    """An engine was about to be started."""


def launch(command: Sequence[str], env: Mapping[str, str]) -> int:
    raise Started(Path(command[3]).parent.name)


def slower(bundle: Bundle, factor: float) -> Bundle:
    """The same bundle of an engine whose steps take `factor` times as long."""
    steps = bundle.frames[BURST_STEPS]
    times = [name for name in steps.columns if name.endswith("_ns")]
    scaled = steps.assign(**{name: steps[name] * factor for name in times})
    return replace(bundle, frames={**bundle.frames, BURST_STEPS: scaled})


def test_the_same_measurements_predict_the_same(config, root, write) -> None:
    bundle = read_bundle(write(root), config)
    found = repeatability([bundle, bundle])
    assert found.spread_pct == dict.fromkeys(SHOWN, 0.0)
    assert found.measured_at == (bundle.meta.measured_at,) * 2


def test_bundles_that_time_a_step_otherwise_lie_apart_by_so_much(config, root, write) -> None:
    bundle = read_bundle(write(root), config)
    found = repeatability([bundle, slower(bundle, 1.2)])
    # (1.2 − 1) / 1.1, of which the client's part, which is as quick in both, takes a little
    assert found.spread_pct["ITL p50"] == pytest.approx(18.2, abs=6)
    of_three = repeatability([bundle, slower(bundle, 1.1), slower(bundle, 1.2)])
    assert of_three.spread_pct["ITL p50"] == pytest.approx(found.spread_pct["ITL p50"], abs=2)


def test_valid_bundles_are_reused_and_the_first_says_how_far_they_lie_apart(
    config, root, write
) -> None:
    first, second = (write(one) for one in repeat_roots(root, 2))
    assert second.name == f"{first.name}--repeat-2"
    before = {one: one.read_bytes() for one in first.rglob("*.csv")}
    found = run_repeatedly(config, root, 2, launch=launch)
    assert read_bundle(first, config).meta.repeatability == found
    assert read_bundle(second, config).meta.repeatability is None
    assert {one: one.read_bytes() for one in first.rglob("*.csv")} == before


def test_the_command_prints_how_far_they_lie_apart(
    root, write, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.delenv("GPU_TIMING_TARGET", raising=False)
    for one in repeat_roots(root, 2):
        write(one)
    assert run_command("vidur-profile", [*TARGET, f"data_root={tmp_path}", "--repeat", "2"]) == 0
    spread, where = capsys.readouterr().out.splitlines()
    assert spread.startswith("2 bundles predict the same bursts within: ITL p50 0.00 %, TPOT mean ")
    assert where == f"profiling root: {root}"


def test_a_repeat_that_is_not_there_is_measured_beside_the_first(config, root, write) -> None:
    write(root)
    with pytest.raises(Started, match=f"{root.name}--repeat-2"):
        run_repeatedly(config, root, 2, launch=launch)


def test_force_begins_with_the_first(config, root, write) -> None:
    for one in repeat_roots(root, 2):
        write(one)
    with pytest.raises(Started, match=rf"{root.name}-[0-9a-f]"):
        run_repeatedly(config, root, 2, launch=launch, force=True)


@pytest.mark.parametrize("times", [1, 0, -3])
def test_fewer_than_two_times_is_no_repeat(config, root, times) -> None:
    with pytest.raises(PresetError, match=f"--repeat {times} repeats nothing: give 2 or more"):
        run_repeatedly(config, root, times, launch=launch)


@pytest.mark.parametrize(
    "changes",
    [
        {"engine_version": "0.1.0"},
        {"device_name": "another GPU"},
        {"bundle_config_sha256": "0" * 64},
    ],
)
def test_bundles_of_different_things_are_both_named(config, root, write, changes) -> None:
    first, second = repeat_roots(root, 2)
    bundles = [read_bundle(write(first), config), read_bundle(write(second, **changes), config)]
    [(name, value)] = changes.items()
    with pytest.raises(ProfilingBundleError) as raised:
        repeatability(bundles)
    said = str(raised.value)
    assert re.search(f"{re.escape(str(first))} and {re.escape(str(second))} were not", said)
    assert f"{name}: " in said
    assert f"and {value})" in said
    assert "vidur-profile --repeat 2 --force" in said

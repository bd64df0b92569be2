"""What a bundle says twice it must say alike, in plausible figures, or it is refused by file and
row.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.errors import ProfilingBundleError
from gpu_timing_assets.core.files import read_json, write_json
from gpu_timing_assets.engine_loop.bundle import read_bundle
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import target_config, write_bundle

Frame = pd.DataFrame
STEPS, REQUESTS, TOKENS = "burst_steps.csv", "burst_requests.csv", "burst_tokens.csv"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ExperimentConfig:
    return target_config(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def pristine(config: ExperimentConfig) -> Path:
    return write_bundle(config.data.profiling_root("h100", "qwen3-tiny"), config)


@pytest.fixture
def bundle(pristine: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pristine, tmp_path / "bundle")


def set_json(path: Path, changes: dict[str, Any]) -> None:
    write_json(path, {**read_json(path), **changes})


def spoil(bundle: Path, name: str, change: Callable[[Frame], Frame | None]) -> None:
    (path,) = bundle.rglob(name)
    frame = pd.read_csv(path)
    changed = change(frame)
    (frame if changed is None else changed).to_csv(path, index=False)


def set_cell(column: str, value: Any, row: int = 3) -> Callable[[Frame], None]:
    def change(frame: Frame) -> None:
        frame[column] = frame[column].astype(object)
        frame.loc[row, column] = value

    return change


def scaled(factor: float) -> Callable[[Frame], None]:
    def change(frame: Frame) -> None:
        times = frame.columns[frame.columns.str.startswith("time_stats.")]
        frame[times] *= factor

    return change


def in_microseconds(frame: Frame) -> None:
    for name in frame.columns[frame.columns.str.endswith("_ns")]:
        frame[name] = (frame[name] // 1000).astype("Int64")


def with_sevenfold_contexts(frame: Frame) -> None:
    frame["kv_tokens"] *= 7


def without_a_step(frame: Frame) -> Frame:
    """A decode step, that it is not the first of its burst, which the requests name."""
    return frame.drop(index=5)


def with_a_shorter_prompt(frame: Frame) -> None:
    frame.loc[0, ["num_prefill_tokens", "kv_tokens"]] -= 1


def with_two_rows_swapped(frame: Frame) -> Frame:
    return frame.iloc[[1, 0, *range(2, len(frame))]]


def refused(bundle: Path, config: ExperimentConfig, message: str) -> None:
    with pytest.raises(ProfilingBundleError, match=message):
        read_bundle(bundle, config)


def test_a_good_bundle_is_read(bundle: Path, config: ExperimentConfig) -> None:
    assert read_bundle(bundle, config).meta.model == "qwen3-tiny"


@pytest.mark.parametrize(
    "changes",
    [
        {"engine_version": "0.25.0"},
        {"device_name": "NVIDIA A100"},
        {"engine": "transformers"},
    ],
)
def test_engine_and_bundle_metadata_must_agree(bundle, config, changes) -> None:
    set_json(bundle / "engine.json", changes)
    refused(bundle, config, f"engine.json: {next(iter(changes))} is")


def test_an_engine_of_another_depth_is_refused(bundle, config) -> None:
    dimensions = read_json(bundle / "engine.json")["model_dimensions"]
    set_json(bundle / "engine.json", {"model_dimensions": {**dimensions, "num_hidden_layers": 1}})
    refused(bundle, config, "engine.json: model_dimensions is .*num_hidden_layers=1")


def test_settings_other_than_those_of_the_profiling_run_are_refused(bundle, config) -> None:
    set_json(bundle / "engine.json", {"num_kv_blocks": 99})
    refused(bundle, config, "run_meta.json: num_kv_blocks is 257, in engine.json 99")


@pytest.mark.parametrize("status", ["failed", "invalid"])
def test_a_profiling_run_that_did_not_end_well_is_refused(bundle, config, status) -> None:
    set_json(bundle / "run_meta.json", {"status": status})
    refused(bundle, config, f"status '{status}'")


def test_a_bundle_without_its_run_is_unfinished(bundle, config) -> None:
    (bundle / "run_meta.json").unlink()
    refused(bundle, config, "no run_meta.json")


@pytest.mark.parametrize("name", ["graph_mode", "scheduling_policy"])
def test_a_setting_that_is_not_simulated_is_refused(bundle, config, name) -> None:
    for file in ("engine.json", "run_meta.json"):
        found = read_json(bundle / file)
        found.get("params", found)[name] = "unheard_of"
        write_json(bundle / file, found)
    refused(bundle, config, f"engine.json: {name} 'unheard_of' is none of")


KERNEL = "time_stats.mlp_act"


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("mlp.csv", set_cell(f"{KERNEL}.median", 1e12), "row 5: .*mlp_act.median is not between"),
        ("mlp.csv", set_cell(f"{KERNEL}.max", 1e12), "row 5: .*mlp_act.max is over a minute"),
        ("mlp.csv", set_cell(f"{KERNEL}.min", 1.0), "row 5: .*mlp_act.median is not between"),
        ("mlp.csv", set_cell(f"{KERNEL}.mean", 1.0), "row 5: .*mlp_act.mean is not between"),
        ("mlp.csv", set_cell("num_tensor_parallel_workers", 2), "row 5: .*workers is not 1"),
        ("mlp.csv", set_cell("n_embd", 4096), "row 5: n_embd is not"),
        ("attention.csv", set_cell("n_q_head", 99), "row 5: n_q_head is not"),
        ("attention.csv", set_cell("block_size", 32), "row 5: block_size is not 16"),
        ("mlp.csv", lambda frame: frame.iloc[:1], "fewer than two numbers of tokens"),
        ("mlp.csv", lambda frame: frame.iloc[:-1], "ends at 48 tokens, bundle_meta.json says 64"),
        ("head.csv", lambda frame: frame.iloc[:1], "fewer than two numbers of requests"),
        ("attention.csv", lambda frame: frame.iloc[:2], "fewer than two prefills"),
        (STEPS, set_cell("schedule_end_ns", 0), "row 5: schedule_end_ns is before schedule_begin"),
        (STEPS, set_cell("gpu_end_ns", 0), "row 5: gpu_end_ns is before gpu_begin_ns"),
        (STEPS, set_cell("step", 0), "row 5: the same burst, step as a row before"),
        (STEPS, with_two_rows_swapped, "row 3: step is below that of the row before it"),
        (STEPS, set_cell("update_end_ns", 9 * 10**18), "row 5: update_end_ns is more than 116"),
        (
            STEPS,
            with_sevenfold_contexts,
            "row .*: kv_tokens does not grow by a token for each decode",
        ),
        (STEPS, set_cell("kv_tokens", 1), "row 5: kv_tokens does not grow"),
        (STEPS, without_a_step, "the steps of burst 0 compute .* tokens after the first, its req"),
        (
            STEPS,
            with_a_shorter_prompt,
            "the steps of burst 0 compute .* prompt tokens, its requests",
        ),
        (STEPS, set_cell("graph_mode", "half"), "row 5: graph_mode is none of full"),
        (REQUESTS, in_microseconds, "row 2: first_schedule_begin_ns is no schedule_begin_ns"),
        (REQUESTS, set_cell("submit_ns", 10**15), "row 5: first_schedule_begin_ns is before"),
        (TOKENS, in_microseconds, "row 2: client_ns is not its first_token_ns"),
        (STEPS, set_cell("kv_tokens", 10**30), "row 5: kv_tokens is .*not a whole number of 64"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused(bundle, config, table, change, message) -> None:
    spoil(bundle, table, change)
    refused(bundle, config, f"{table}.*{message}")


def test_steps_in_microseconds_are_refused(bundle, config) -> None:
    spoil(bundle, STEPS, in_microseconds)
    refused(bundle, config, f"{REQUESTS}, row 2: first_schedule_begin_ns is no schedule_begin_ns")


def test_all_of_a_bundles_bursts_in_microseconds_are_refused(bundle, config) -> None:
    for name in (STEPS, REQUESTS, TOKENS):
        spoil(bundle, name, in_microseconds)
    refused(bundle, config, f"{STEPS}: a step takes .* another unit")


@pytest.mark.parametrize("factor", [1000.0, 0.001])
def test_kernels_in_another_unit_are_refused(bundle, config, factor) -> None:
    spoil(bundle, "mlp.csv", scaled(factor))
    refused(bundle, config, "a step takes .* another unit")


def test_cells_beyond_the_header_are_refused(bundle, config) -> None:
    (path,) = bundle.rglob("head.csv")
    first, *rows = path.read_text().splitlines()
    path.write_text("\n".join([first, *(f"7,{row}" for row in rows)]) + "\n")
    refused(bundle, config, "head.csv: its rows have more cells")


def test_a_column_twice_is_refused(bundle, config) -> None:
    (path,) = bundle.rglob("head.csv")
    rows = path.read_text().splitlines()
    path.write_text("\n".join([f"{rows[0]},num_requests", *(f"{row},1" for row in rows[1:])]))
    refused(bundle, config, "head.csv: column 'num_requests' stands twice")

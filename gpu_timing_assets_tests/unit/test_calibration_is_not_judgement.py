"""No fitted number comes from a workload that it is judged on.

A bundle is measured with bursts of its own; the time model reads the bundle's tables and nothing
else.
"""

import ast
import inspect
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gpu_timing_assets import engine_loop
from gpu_timing_assets.config.experiment import ExperimentConfig, compose, preset_names
from gpu_timing_assets.core.bundle import host_dir
from gpu_timing_assets.core.data_root import REFERENCE_DATA
from gpu_timing_assets.core.files import read_json
from gpu_timing_assets.core.run import run_type_of
from gpu_timing_assets.core.tables.schemas import (
    BURST_BATCHES,
    BURST_REQUESTS,
    BURST_STEPS,
    REQUEST_METRICS,
)
from gpu_timing_assets.engine_loop.fit.engine import fit_engine_timing
from gpu_timing_assets.engine_loop.fit.rows import HELD_OUT
from gpu_timing_assets.measure import profiling
from gpu_timing_assets.measure.profiling.burst_plan import Burst
from gpu_timing_assets.measure.profiling.burst_process import BURST_SEED
from gpu_timing_assets.simulators import SimInputs, run
from gpu_timing_assets_tests.unit.measure.profiling.planned_bursts import planned_bursts
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import (
    engine_params,
    target_config,
    write_bundle,
    write_workload,
)

CALIBRATING = [
    path
    for package in (engine_loop, profiling)
    for path in sorted(Path(next(iter(package.__path__))).rglob("*.py"))
]
OTHER_STAGES = tuple(
    f"gpu_timing_assets.{name}"
    for name in ("workload", "measure.real_bench", "simulators", "compare")
)


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("path", CALIBRATING, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_calibrates_imports_no_workload_and_no_run(path) -> None:
    names = set(imported(path))
    assert not [name for name in names if name.startswith(OTHER_STAGES)]
    # nor the readers and places of what is judged
    judged = (
        "read_workload_tables",
        "read_run_tables",
        "read_complete_workload",
        "read_complete_run",
        "read_prompt_token_ids",
        "WorkloadPrompts",
        "REQUEST_METRICS",
        "TOKEN_METRICS",
        "ENGINE_STEPS",
        "ENGINE_BATCHES",
        "TRACE_LENGTHS",
        "TRACE_INTERVALS",
    )
    assert not [name for name in names if name.rsplit(".", 1)[-1] in judged]


@pytest.mark.parametrize("path", CALIBRATING, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_calibrates_names_no_directory_of_runs_or_workloads(path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not used & {"workload_dir", "real_run_dir", "sim_run_dir", "comparison_dir", "workload"}
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert not [text for text in texts if "real_runs" in text or "workloads/" in text]


def test_the_fit_takes_the_tables_of_a_bundle_only() -> None:
    names = list(inspect.signature(fit_engine_timing).parameters)
    assert names[:2] == ["steps", "requests"]
    assert not {"workload", "real_run", "run", "config"} & set(names)


def test_a_simulation_opens_no_real_run_for_its_fit(tmp_path) -> None:
    # a real run of the same workload lies there, of an engine a hundred times slower; nothing of it
    # shows
    def simulated(root: Path, *, with_real_run: bool) -> bytes:
        config = target_config(root)
        bundle = write_bundle(config.data.profiling_root("h100", "qwen3-tiny"), config)
        workload = write_workload(config.data.workload_dir("judged"), [8, 20], [5, 6], [0, 3])
        real = root / "real_runs" / "judged--real"
        if with_real_run:
            real.mkdir(parents=True)
            for name in (
                "engine_steps.csv",
                "request_metrics.csv",
                "token_metrics.csv",
                "run_meta.json",
            ):
                (real / name).write_text("not a table that anything could read")
        out = config.data.sim_run_dir("sim")
        run(config, SimInputs(workload, bundle, real if with_real_run else None), out)
        return (out / "token_metrics.csv").read_bytes()

    assert simulated(tmp_path / "with", with_real_run=True) == simulated(
        tmp_path / "without", with_real_run=False
    )


def bursts_of(config: ExperimentConfig) -> list[Burst]:
    return planned_bursts(config.profiling, engine_params(config, num_kv_blocks=50_000), BURST_SEED)


TARGETS = {
    "cpu": [],
    "standard": ["model=qwen3-0.6b", "hardware=h100", "backend=vllm", "profiling=standard"],
}


@pytest.mark.parametrize("target", TARGETS)
def test_bursts_do_not_depend_on_the_workload(target) -> None:
    plans = []
    for workload in ("smoke", "chat_high"):
        plans.append(
            bursts_of(compose([*TARGETS[target], f"workload={workload}", "workload.seed=12345"]))
        )
    assert plans[0] == plans[1]


def test_the_seed_of_the_bursts_is_no_workloads_seed() -> None:
    seeds = {compose([f"workload={name}"]).workload.seed for name in preset_names("workload")}
    repeats = {BURST_SEED + k for k in range(-1, 100)}
    assert not seeds & repeats


def test_the_identity_of_a_bundle_is_the_same_under_every_workload() -> None:
    assert (
        len(
            {
                compose([f"workload={name}"]).bundle_config_sha256
                for name in ("smoke", "chat_low", "code_high")
            }
        )
        == 1
    )


def is_part_of(lengths: list[tuple[int, int]], judged: list[tuple[int, int]]) -> bool:
    """Whether five requests in a row of `judged` are five in a row of `lengths`."""
    runs = {tuple(lengths[k : k + 5]) for k in range(len(lengths) - 4)}
    return any(tuple(judged[k : k + 5]) in runs for k in range(len(judged) - 4))


@pytest.fixture(scope="module")
def reference() -> tuple[list[Path], list[Path]]:
    """The shipped bundles and real runs; of a bundle that is refused only its metadata are kept."""
    used = REFERENCE_DATA.glob("*/vidur_profiling/*/*/bundle_meta.json")
    bundles = [path.parent for path in used]
    runs = [path.parent for path in REFERENCE_DATA.glob("**/real_runs/*/run_meta.json")]
    if not bundles or not runs:
        pytest.skip("no reference data is in this checkout")
    return bundles, runs


def test_no_burst_of_a_shipped_bundle_is_a_workload_that_was_judged(reference) -> None:
    bundles, runs = reference
    # every workload's last repeat: the earlier ones are of the same requests
    judged = {path: REQUEST_METRICS.read(path) for path in runs if path.name.endswith("r2")}
    assert judged
    for root, (path, requests) in itertools.product(bundles, judged.items()):
        theirs = list(
            zip(
                requests["num_prefill_tokens"].tolist(),
                requests["num_decode_tokens"].tolist(),
                strict=True,
            )
        )
        for _, burst in BURST_REQUESTS.read(host_dir(root)).groupby("burst"):
            ours = list(
                zip(
                    burst["num_prefill_tokens"].tolist(),
                    burst["num_decode_tokens"].tolist(),
                    strict=True,
                )
            )
            # a decode burst repeats one length; what is judged never does
            if len(set(ours)) > 1:
                assert not is_part_of(ours, theirs), f"{root}: a burst is part of {path.name}"


def test_no_table_of_a_shipped_bundle_is_that_of_a_real_run(reference) -> None:
    bundles, runs = reference
    files = [file for path in runs for file in path.glob("engine_steps.csv*")]
    recorded = [pd.read_csv(file, nrows=50)["schedule_begin_ns"].to_numpy() for file in files]
    assert recorded
    for root in bundles:
        meta = read_json(root / "run_meta.json")
        assert run_type_of(root) == "profile"
        # a default preset's name may stand there from before profiles stopped recording one; no
        # run's data does
        assert meta.get("real_run_dir") is None
        assert meta.get("workload_sha256") is None
        steps = BURST_STEPS.read(host_dir(root))
        begin = np.diff(steps["schedule_begin_ns"].to_numpy()[:50])
        for real_begin in recorded:
            assert not np.array_equal(np.diff(real_begin), begin)


def test_the_recorded_batches_of_a_shipped_bundle_are_those_of_its_storms(reference) -> None:
    for root in reference[0]:
        steps, batches = BURST_STEPS.read(host_dir(root)), BURST_BATCHES.read(host_dir(root))
        of_kind = {kind: set(rows["burst"]) for kind, rows in steps.groupby("kind")}
        # a storm that is held out is one of its batches' bursts too
        storms_at_most = of_kind["storm"] | of_kind.get(HELD_OUT, set())
        assert of_kind["storm"] <= set(batches["burst"]) <= storms_at_most

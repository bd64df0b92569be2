"""What a simulation asks of its profiling root, its workload and its preset before it starts.

Every refusal names the file and the remedy, and writes nothing.
"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.bundle import BundleMeta, compute_dir
from gpu_timing_assets.core.errors import (
    ArtifactError,
    GpuTimingError,
    IncomparableRunsError,
    PresetError,
    ProfilingBundleError,
    SimulationError,
    UnfinishedArtifactError,
)
from gpu_timing_assets.core.files import read_json, write_json
from gpu_timing_assets.core.run import RUN_META_FILE, SimRunMeta
from gpu_timing_assets.measure.profiling import validate_profiling_root
from gpu_timing_assets.simulators import SimInputs, run
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import (
    engine_params,
    target_config,
    write_bundle,
    write_workload,
)

MAKE = "vidur-profile model=qwen3-tiny hardware=h100"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bundle")
    config = target_config(root)
    return write_bundle(config.data.profiling_root("h100", "qwen3-tiny"), config)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> ExperimentConfig:
    return target_config(tmp_path_factory.mktemp("unused"))


@pytest.fixture
def config(base: ExperimentConfig, tmp_path: Path) -> ExperimentConfig:
    return base.model_copy(update={"data_root": str(tmp_path)})


@pytest.fixture
def bundle(pristine: Path, config: ExperimentConfig) -> Path:
    """A good bundle of the target, to be spoilt."""
    root = config.data.profiling_root("h100", "qwen3-tiny")
    shutil.copytree(pristine, root)
    return root


@pytest.fixture
def simulate(config: ExperimentConfig, bundle: Path) -> Callable[..., SimRunMeta]:
    """`simulate(prefill, decode, **simulator)` on the bundle."""

    def simulate_it(prefill: int = 40, decode: int = 8, **simulator) -> SimRunMeta:
        workload = config.data.workload_dir("tiny")
        if not workload.exists():
            write_workload(workload, [8, prefill], [4, decode], [0, 5])
        changed = config.model_copy(
            update={"simulator": config.simulator.model_copy(update=simulator)}
        )
        return run(
            changed, SimInputs(workload, bundle), changed.data.sim_run_dir(changed.sim_run_id)
        )

    return simulate_it


def assert_refused(
    simulate, config: ExperimentConfig, error: type[GpuTimingError], *parts: str, **arguments
) -> None:
    """The simulation is refused with one line that says all of `parts`, and there is nothing like a
    result.
    """
    with pytest.raises(error) as refused:
        simulate(**arguments)
    for part in parts:
        assert re.search(part, str(refused.value)), f"{part!r} is not in {refused.value}"
    assert "\n" not in str(refused.value)
    assert not list(config.data.sim_runs.glob("[!.]*"))


def spoil(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    change(pd.read_csv(path)).to_csv(path, index=False)


def set_json(path: Path, **changes) -> None:
    write_json(path, {**read_json(path), **changes})


def set_engine(bundle: Path, **changes) -> None:
    """In all three files that say how the engine was set."""
    set_json(bundle / "engine.json", **changes)
    set_json(bundle / "run_meta.json", params=read_json(bundle / "engine.json"))
    known = BundleMeta.model_fields.keys() & changes.keys()
    set_json(bundle / "bundle_meta.json", **{name: changes[name] for name in known})


def test_a_good_bundle_is_accepted(bundle, config, simulate) -> None:
    assert validate_profiling_root(bundle, config).model == "qwen3-tiny"
    assert simulate().status == "complete"


def test_gzipped_tables_are_read_alike(bundle, config, simulate) -> None:
    for path in [*bundle.rglob("*.csv")]:
        pd.read_csv(path).to_csv(f"{path}.gz", index=False)
        path.unlink()
    assert simulate().status == "complete"


def test_a_profiling_root_that_is_not_there(config, simulate, bundle) -> None:
    shutil.rmtree(bundle)
    assert_refused(simulate, config, ProfilingBundleError, str(bundle), "no profiling bundle", MAKE)


def test_an_unfinished_profiling_root(config, simulate, bundle) -> None:
    (bundle / "bundle_meta.json").unlink()
    assert_refused(simulate, config, ProfilingBundleError, "bundle_meta.json is missing", MAKE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "phi-2"}, "model phi-2, this experiment has qwen3-tiny"),
        ({"hardware": "a100"}, "hardware a100, this experiment has h100"),
        ({"tensor_parallel_size": 2}, "tensor_parallel_size 2, this experiment has 1"),
    ],
)
def test_a_bundle_of_another_target(config, simulate, bundle, changes, message) -> None:
    set_json(bundle / "bundle_meta.json", **changes)
    assert_refused(simulate, config, ProfilingBundleError, str(bundle), message, MAKE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_num_seqs": 128}, "max_num_seqs 128, this experiment has 8"),
        ({"max_num_batched_tokens": 512}, "max_num_batched_tokens 512, this experiment has 64"),
        ({"dtype": "float16"}, "dtype float16, this experiment has bfloat16"),
    ],
)
def test_a_bundle_of_an_engine_with_other_limits(
    config, simulate, bundle, changes, message
) -> None:
    set_json(bundle / "engine.json", **changes)
    assert_refused(simulate, config, ProfilingBundleError, str(bundle), message, MAKE)


def test_a_prefix_cache_is_refused_and_not_simulated_as_none(config, bundle) -> None:
    caching = config.backend.model_copy(update={"enable_prefix_caching": True})
    changed = config.model_copy(update={"backend": caching})
    write_workload(config.data.workload_dir("tiny"), [8, 40], [4, 8], [0, 5])
    inputs = SimInputs(config.data.workload_dir("tiny"), bundle)
    with pytest.raises(SimulationError, match="backend.enable_prefix_caching is true, and simula"):
        run(changed, inputs, config.data.sim_run_dir(config.sim_run_id))


def test_a_bundle_of_a_model_with_the_same_name_and_other_dimensions(
    config, simulate, bundle
) -> None:
    meta = read_json(bundle / "bundle_meta.json")
    set_json(
        bundle / "bundle_meta.json", model_dimensions={**meta["model_dimensions"], "head_dim": 128}
    )
    assert_refused(
        simulate,
        config,
        ProfilingBundleError,
        "another qwen3-tiny than the card",
        "qwen3-tiny",
        MAKE,
    )


@pytest.fixture
def on_two(tmp_path) -> tuple[ExperimentConfig, Path]:
    config = target_config(tmp_path, "backend.tensor_parallel_size=2")
    return config, write_bundle(config.profiling_root, config)


def test_the_bundles_of_one_and_of_two_devices_lie_apart(tmp_path, on_two) -> None:
    _, root = on_two
    assert root.name == "qwen3-tiny-tp2"
    assert target_config(tmp_path).profiling_root == root.with_name("qwen3-tiny")


def test_a_bundle_of_two_devices_has_their_all_reduces(on_two) -> None:
    config, root = on_two
    assert validate_profiling_root(root, config).tensor_parallel_size == 2
    (root / "all_reduce.csv").unlink()
    remedy = f"all_reduce.csv is missing: make it with `{MAKE} backend.tensor_parallel_size=2`"
    with pytest.raises(ProfilingBundleError, match=re.escape(remedy)):
        validate_profiling_root(root, config)


def test_a_bundle_of_two_devices_has_how_long_the_logits_are_gathered(on_two) -> None:
    config, root = on_two
    spoil(root / "head.csv", lambda frame: frame.filter(regex="^(?!.*logits_gather)"))
    with pytest.raises(
        ProfilingBundleError, match=r"head.csv: column '\S*gather.median' is missing"
    ):
        validate_profiling_root(root, config)


TABLES = ("mlp.csv", "attention.csv", "head.csv", "burst_steps.csv", "burst_requests.csv")


@pytest.mark.parametrize("file", [*TABLES, "engine.json"])
def test_a_missing_file(config, simulate, bundle, file) -> None:
    next(bundle.rglob(file)).unlink()
    assert_refused(simulate, config, ProfilingBundleError, f"{file} is missing", MAKE)


def test_the_kernels_of_another_model_are_no_fallback(config, simulate, bundle) -> None:
    own = compute_dir(bundle, "h100", "qwen3-tiny")
    own.rename(own.with_name("phi-2"))
    assert_refused(simulate, config, ProfilingBundleError, r"qwen3-tiny/mlp\.csv is missing", MAKE)


@pytest.mark.parametrize(
    ("file", "column"),
    [
        ("mlp.csv", "time_stats.qk_norm.median"),
        ("attention.csv", "time_stats.attn_decode.median"),
        ("head.csv", "time_stats.lm_head.median"),
        ("burst_steps.csv", "update_end_ns"),
        ("burst_requests.csv", "first_schedule_begin_ns"),
    ],
)
def test_a_missing_column(config, simulate, bundle, file, column) -> None:
    spoil(next(bundle.rglob(file)), lambda frame: frame.drop(columns=column))
    assert_refused(
        simulate, config, ProfilingBundleError, file, f"column '{column}' is missing", MAKE
    )


@pytest.mark.parametrize(
    ("file", "column"),
    [
        ("mlp.csv", "time_stats.attn_rope.median"),
        ("head.csv", "time_stats.sampler.median"),
        ("burst_steps.csv", "schedule_end_ns"),
        ("burst_requests.csv", "first_token_ns"),
    ],
)
def test_a_nan(config, simulate, bundle, file, column) -> None:
    path = next(bundle.rglob(file))
    spoil(
        path,
        lambda frame: frame.astype({column: "object"}).assign(
            **{column: [*frame[column][:2], None, *frame[column][3:]]}
        ),
    )
    assert_refused(
        simulate, config, ProfilingBundleError, f"{file}, row 4: {column} is empty", MAKE
    )


def test_an_attention_row_without_its_time(config, simulate, bundle) -> None:
    # either column may be empty, but not in a row of its own kind
    path = next(bundle.rglob("attention.csv"))
    frame = pd.read_csv(path)
    frame.loc[1, "time_stats.attn_decode.median"] = None
    frame.to_csv(path, index=False)
    assert_refused(
        simulate,
        config,
        ProfilingBundleError,
        r"attention.csv, row 3: time_stats.attn_decode.median is empty",
        MAKE,
    )


@pytest.mark.parametrize(
    ("file", "column"),
    [
        ("mlp.csv", "time_stats.mlp_up_proj.median"),
        ("attention.csv", "time_stats.attn_decode.median"),
        ("head.csv", "time_stats.lm_head.median"),
    ],
)
def test_a_zero_that_the_profiler_left_for_a_kernel_it_missed(
    config, simulate, bundle, file, column
) -> None:
    path = next(bundle.rglob(file))
    spoil(path, lambda frame: frame.assign(**{column: [frame[column][0], 0.0, *frame[column][2:]]}))
    assert_refused(simulate, config, ProfilingBundleError, f"{file}, row 3: {column} is zero", MAKE)


@pytest.mark.parametrize("file", TABLES)
def test_a_duplicated_row(config, simulate, bundle, file) -> None:
    path = next(bundle.rglob(file))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[2]]) + "\n")
    assert_refused(
        simulate, config, ProfilingBundleError, f"{file}, row {len(lines) + 1}: the same", MAKE
    )


@pytest.mark.parametrize("file", TABLES)
def test_a_table_without_rows(config, simulate, bundle, file) -> None:
    path = next(bundle.rglob(file))
    path.write_text(path.read_text().splitlines()[0] + "\n")
    assert_refused(simulate, config, ProfilingBundleError, f"{file}: there is no row", MAKE)


def test_metadata_that_is_not_json(config, simulate, bundle) -> None:
    (bundle / "bundle_meta.json").write_text("{")
    assert_refused(simulate, config, ProfilingBundleError, "bundle_meta.json is not JSON", MAKE)


def test_bursts_too_few_to_fit(config, simulate, bundle) -> None:
    for name in ("burst_steps.csv", "burst_requests.csv"):
        spoil(next(bundle.rglob(name)), lambda frame: frame[frame["burst"] == 0])
    next(bundle.rglob("burst_tokens.csv")).unlink()
    assert_refused(simulate, config, ProfilingBundleError, "cannot be fitted", "profile again")


def test_a_request_longer_than_the_context(config, simulate) -> None:
    assert_refused(
        simulate,
        config,
        SimulationError,
        r"request 1 \(.*row 3 of trace_lengths.csv\), 500 \+ 20",
        "engine's context of 512",
        "backend.max_model_len",
        prefill=500,
        decode=20,
        max_extrapolation=10.0,
    )


def test_a_request_beyond_the_bundles_grid_is_refused(config, simulate, bundle) -> None:
    set_json(bundle / "bundle_meta.json", max_context_tokens=256)
    assert_refused(
        simulate,
        config,
        SimulationError,
        r"request 1 \(.*row 3 of trace_lengths.csv\), 300 \+ 20",
        "the bundle covers of 256",
        "simulator.max_extrapolation",
        prefill=300,
        decode=20,
    )


def test_a_request_beyond_the_grid_is_simulated_where_the_preset_allows_it_and_marked(
    simulate, bundle, config
) -> None:
    set_json(bundle / "bundle_meta.json", max_context_tokens=256)
    meta = simulate(prefill=300, decode=20, max_extrapolation=2.0)
    out = config.data.sim_run_dir(config.sim_run_id)
    assert meta.extrapolated is True
    assert read_json(out / RUN_META_FILE)["extrapolated"] is True
    assert "extrapolated" in (out / "summary.md").read_text()


def test_an_allowed_reach_has_an_end(config, simulate, bundle) -> None:
    set_json(bundle / "bundle_meta.json", max_context_tokens=256)
    assert_refused(
        simulate,
        config,
        SimulationError,
        "the bundle covers of 307",
        prefill=300,
        decode=20,
        max_extrapolation=1.2,
    )


def test_within_the_grid_nothing_is_marked(simulate) -> None:
    assert simulate(max_extrapolation=2.0).extrapolated is False


def test_a_request_that_the_kv_cache_cannot_hold(config, simulate, bundle) -> None:
    set_engine(bundle, num_kv_blocks=5)
    assert_refused(
        simulate, config, SimulationError, r"request 1 \(.*row 3", "KV", prefill=60, decode=20
    )


def test_a_workload_that_is_not_there(config, bundle) -> None:
    with pytest.raises(UnfinishedArtifactError, match="workload-spec workload=none"):
        run(
            config,
            SimInputs(config.data.workload_dir("none"), bundle),
            config.data.sim_run_dir("x"),
        )


def test_a_workload_that_was_changed(config, simulate) -> None:
    directory = write_workload(config.data.workload_dir("tiny"), [8, 9], [4, 4], [0, 5])
    path = directory / "trace_lengths.csv"
    path.write_text(path.read_text().replace("8,4", "9,4"))
    assert_refused(
        simulate, config, ArtifactError, "trace files are not those", "generate the workload again"
    )


def test_a_refusal_leaves_an_earlier_result_alone(simulate, bundle, config) -> None:
    simulate()
    out = config.data.sim_run_dir(config.sim_run_id)
    before = {path: path.read_bytes() for path in out.rglob("*")}
    next(bundle.rglob("head.csv")).unlink()
    with pytest.raises(ProfilingBundleError):
        simulate()
    assert {path: path.read_bytes() for path in out.rglob("*")} == before


def test_a_bundle_of_another_engine_version_is_caught_at_the_comparison(simulate, config) -> None:
    # the bundle does not know which engine the real run will have; the parity gate does
    from gpu_timing_assets.compare.gate.admission import check_settings
    from gpu_timing_assets.config.comparison import ComparisonPreset
    from gpu_timing_assets_tests.unit.compare.synthetic_runs import real_meta

    simulated = simulate()
    same = simulated.model_dump(
        include={"model", "hardware", "backend", "workload_id", "workload_sha256"}
    )
    real = real_meta("real", **same, params=engine_params(config, engine_version="0.32.0"))
    with pytest.raises(
        IncomparableRunsError, match="engine_version is 0.32.0 in the real run, 0.26.0"
    ):
        check_settings([real], [simulated], ComparisonPreset())
    agreeing = real.model_copy(update={"params": engine_params(config)})
    assert check_settings([agreeing], [simulated], ComparisonPreset()) == ([], [])


def test_a_bundle_of_another_engine_version_is_left_to_the_comparison(
    simulate, bundle, config
) -> None:
    # the bundle does not know which engine the real run will have; the run carries the bundle's
    set_engine(bundle, engine_version="0.32.0")
    assert simulate().params == engine_params(config, engine_version="0.32.0")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("simulator=vidr", "there is no simulator preset 'vidr'"),
        ("simulator.predictor=engin", "simulator.predictor"),
        ("simulator.max_extrapolation=0.5", "simulator.max_extrapolation"),
        ("simulator.sede=1", "did you mean simulator.seed"),
    ],
)
def test_a_preset_that_does_not_exist(tmp_path, override, message) -> None:
    with pytest.raises(PresetError, match=message):
        target_config(tmp_path, override)


def test_the_command_ends_with_one_line_and_its_own_exit_code(
    config, tmp_path, capsys, monkeypatch
) -> None:
    from gpu_timing_assets import cli

    write_workload(config.data.workload_dir("smoke"), [8], [4], [0])
    monkeypatch.setattr(
        "sys.argv",
        [
            "vidur-sim",
            "workload=smoke",
            "model=qwen3-tiny",
            "hardware=h100",
            "backend=vllm",
            f"data_root={tmp_path}",
        ],
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == ProfilingBundleError.exit_code
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "there is no profiling bundle" in error
    assert MAKE in error
    assert not json.dumps(error).count("Traceback")
    assert not list((tmp_path / "vidur_runs").glob("[!.]*"))


@pytest.mark.parametrize("field", ["vidur_device", "vidur_network_device"])
def test_hardware_that_vidur_does_not_know(config, bundle, field) -> None:
    workload = write_workload(config.data.workload_dir("tiny"), [8], [4], [0])
    hardware = config.hardware.model_copy(update={field: "abacus"})
    changed = config.model_copy(update={"hardware": hardware})
    with pytest.raises(PresetError, match=f"hardware.{field}='abacus' is none of Vidur's: a40"):
        run(changed, SimInputs(workload, bundle), config.data.sim_run_dir("x"))


@pytest.mark.parametrize(
    "name",
    [
        *("num_requests", "num_prefill_tokens", "num_decode_tokens", "longest_request_tokens"),
        "duration_ns",
    ],
)
def test_a_workload_whose_totals_are_not_those_of_its_files(config, bundle, name) -> None:
    workload = write_workload(config.data.workload_dir("tiny"), [8], [4], [0])
    set_json(workload / "workload_meta.json", **{name: 99})
    with pytest.raises(ArtifactError, match=f"workload_meta.json: {name} is 99, the trace files"):
        run(config, SimInputs(workload, bundle), config.data.sim_run_dir("x"))

"""`vidur-profile`: when it measures, when it does not, and what it files. The parts are made by
formula, no engine starts.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gpu_timing_assets.cli import profiled as told_of
from gpu_timing_assets.config.experiment import ExperimentConfig, compose
from gpu_timing_assets.core.bundle import BundleMeta, host_dir
from gpu_timing_assets.core.errors import (
    ArtifactError,
    DeviceError,
    EngineError,
    GpuTimingError,
    PresetError,
    ProfilingBundleError,
)
from gpu_timing_assets.core.files import read_json, write_json
from gpu_timing_assets.core.host_probe import HostProbe
from gpu_timing_assets.core.machine import NATIVE_LIBRARIES, cpu_instruction_set
from gpu_timing_assets.core.manifest import MANIFEST_FILE
from gpu_timing_assets.core.tables.schemas import (
    ALL_REDUCE,
    BURST_BATCHES,
    BURST_REQUESTS,
    BURST_STEPS,
    BURST_TOKENS,
    HEAD,
    LAYER_OPERATORS,
    OBSERVED,
)
from gpu_timing_assets.engines.base import engine_plugin
from gpu_timing_assets.engines.session import SESSION_FILE, Session
from gpu_timing_assets.measure.profiling import measure_bundle, run, validate_profiling_root
from gpu_timing_assets.measure.profiling.cpu_overheads import write_cpu_overheads
from gpu_timing_assets.measure.profiling.measure_bundle import installed_engine
from gpu_timing_assets.measure.profiling.parts import (
    ALL_REDUCES,
    ATTENTION_CASES,
    BURSTS_DIR,
    HEADS,
    LINEARS,
    LOGITS_GATHERS,
    PROBES_FILE,
    AttentionTime,
    HeadTime,
    KernelTime,
    LinearTime,
    Probes,
    parts_dir,
)
from gpu_timing_assets_tests.unit.simulators.planted_engine import BurstFrames
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import (
    all_reduce_table,
    engine_params,
    kernel_tables,
    recorded_bursts,
    target_config,
    write_bundle,
)

STATISTICS = ("min", "max", "mean", "median", "std")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> ExperimentConfig:
    config = target_config(tmp_path_factory.mktemp("unused"))
    # measured on this machine's CPU, so that no GPU is asked for
    return config.model_copy(update={"hardware": compose(["hardware=cpu"]).hardware})


@pytest.fixture
def config(base: ExperimentConfig, tmp_path: Path) -> ExperimentConfig:
    return base.model_copy(update={"data_root": str(tmp_path)})


@pytest.fixture
def out(config: ExperimentConfig) -> Path:
    return config.data.profiling_root(config.hardware.name, config.model.name)


class Measurement:
    """A launcher that measures by formula: writes the parts that the two processes write, and
    counts itself.
    """

    def __init__(self, config: ExperimentConfig, fail_in: str | None = None) -> None:
        self.started: list[str] = []
        self._config, self._fail_in = config, fail_in
        # by the engine that is installed here: a bundle of another version is measured anew
        here = {
            "engine_version": installed_engine(config).version,
            "native_library": NATIVE_LIBRARIES[cpu_instruction_set()],
        }
        self._params = engine_params(config).model_copy(update=here)

    def __call__(self, command: Sequence[str], env: Mapping[str, str]) -> int:
        name, parts = command[2].rsplit(".", 1)[1], Path(command[3]).parent
        self.started.append(name)
        if name == self._fail_in:
            raise EngineError("interrupted")
        (self._bursts if name == "burst_process" else self._kernels)(parts)
        return 0

    def _bursts(self, parts: Path) -> None:
        directory = parts / BURSTS_DIR
        directory.mkdir()
        recorded = self._recorded()
        for table, frame in (
            (BURST_STEPS, recorded.steps),
            (BURST_REQUESTS, recorded.requests),
            (BURST_BATCHES, recorded.batches),
            (BURST_TOKENS, recorded.tokens),
        ):
            table.write(frame, directory)
        probe = HostProbe(decode_1_ms=1.0, decode_8_ms=1.1, mixed_ms=9.0, num_mixed_steps=9)
        write_json(directory / PROBES_FILE, Probes(played=(probe, probe)))
        session = Session(params=self._params, env={}, engine_start_s=1.0, work_s=2.0)
        write_json(parts / SESSION_FILE, session)

    def _recorded(self) -> BurstFrames:
        return recorded_bursts(self._params)

    def _kernels(self, parts: Path) -> None:
        mlp, attention, head = kernel_tables(self._params)

        def timing(row, operator: str) -> KernelTime:
            times = {name: row[f"time_stats.{operator}.{name}"] for name in STATISTICS}
            return KernelTime(operator=operator, **times)

        linears = [
            LinearTime(num_tokens=int(row["num_tokens"]), time=timing(row, operator))
            for _, row in mlp.iterrows()
            for operator in LAYER_OPERATORS
        ]
        heads = [
            HeadTime(num_requests=int(row["num_requests"]), time=timing(row, operator))
            for _, row in head.iterrows()
            for operator in ("lm_head", "sampler")
        ]
        cases = [
            AttentionTime(
                batch_size=int(row["batch_size"]),
                prefill_chunk_size=int(row["prefill_chunk_size"]),
                kv_cache_size=int(row["kv_cache_size"]),
                attend=timing(row, "attn_prefill" if row["prefill_chunk_size"] else "attn_decode"),
                save=timing(row, "attn_kv_cache_save"),
            )
            for _, row in attention.iterrows()
        ]
        LINEARS.write(linears, 3.0, parts)
        HEADS.write(heads, 4.0, parts)
        ATTENTION_CASES.write(cases, 5.0, parts)
        if (all_reduce := all_reduce_table(self._params)) is not None:
            reduces = [
                LinearTime(num_tokens=int(row["num_tokens"]), time=timing(row, "all_reduce"))
                for _, row in all_reduce.iterrows()
            ]
            gathers = [
                HeadTime(num_requests=int(row["num_requests"]), time=timing(row, "logits_gather"))
                for _, row in head.iterrows()
            ]
            ALL_REDUCES.write(reduces, 6.0, parts)
            LOGITS_GATHERS.write(gathers, 7.0, parts)


@dataclass(frozen=True)
class Profiled:
    meta: BundleMeta
    root: Path


@pytest.fixture(scope="module")
def profiled(base: ExperimentConfig, tmp_path_factory: pytest.TempPathFactory) -> Profiled:
    """A finished profile of `config`'s target; nobody writes to it."""
    root = tmp_path_factory.mktemp("profiled") / "root"
    return Profiled(run(base, root, launch=Measurement(base)), root)


@pytest.fixture
def filed(profiled: Profiled, out: Path) -> BundleMeta:
    """Of a copy in `out` of the finished profile."""
    shutil.copytree(profiled.root, out)
    return profiled.meta


@pytest.fixture
def on_two(config) -> ExperimentConfig:
    backend = config.backend.model_copy(update={"tensor_parallel_size": 2})
    return config.model_copy(update={"backend": backend})


def test_a_profile_on_two_devices_has_their_collectives(on_two, out) -> None:
    meta = run(on_two, out, launch=Measurement(on_two))
    assert validate_profiling_root(out, on_two) == meta
    assert (meta.tensor_parallel_size, meta.duration_s["collectives"]) == (2, 13.0)
    assert meta.fitted_error_pct["all_reduce"].median < 0.01
    assert ALL_REDUCE.read(out)["num_tensor_parallel_workers"].unique().tolist() == [2]
    assert (HEAD.read(out)["time_stats.logits_gather.median"] > 0).all()


def test_a_profile_on_one_device_has_no_collectives(profiled) -> None:
    assert not ALL_REDUCE.is_in(profiled.root)
    assert "time_stats.logits_gather.median" not in HEAD.read(profiled.root)


@pytest.mark.parametrize("part", [ALL_REDUCES, LOGITS_GATHERS])
def test_collectives_that_an_interrupted_profile_lacks_are_measured(on_two, out, part) -> None:
    class Interrupted(Measurement):
        def _kernels(self, parts: Path) -> None:
            super()._kernels(parts)
            (parts / part.file).unlink()
            raise EngineError("interrupted")

    with pytest.raises(EngineError):
        run(on_two, out, launch=Interrupted(on_two))
    rest = Measurement(on_two)
    run(on_two, out, launch=rest)
    assert rest.started == ["kernel_process"]


def test_an_engine_without_collectives_is_not_profiled_on_two_devices(
    on_two, out, monkeypatch
) -> None:
    plugin = replace(engine_plugin("vllm"), collectives=None)
    monkeypatch.setattr(measure_bundle, "engine_plugin", lambda _: plugin)
    with pytest.raises(PresetError, match=r"several GPUs: set backend.tensor_parallel_size=1"):
        run(on_two, out, launch=Measurement(on_two))


def test_a_profile_becomes_a_bundle_that_its_readers_accept(config, out) -> None:
    meta = run(config, out, launch=Measurement(config))
    assert validate_profiling_root(out, config) == meta
    assert meta.duration_s["total"] == 15.0
    assert (meta.model, meta.hardware, meta.engine_version) == (
        "qwen3-tiny",
        "cpu",
        installed_engine(config).version,
    )
    assert meta.quality
    assert set(LAYER_OPERATORS) - {
        "input_layernorm",
        "post_attention_layernorm",
        "add",
        "embedding",
    } <= set(meta.fitted_error_pct)
    assert {path.name for path in out.iterdir()} >= {
        "bundle_meta.json",
        "run_meta.json",
        "config.json",
        "engine.json",
        "cpu_overheads.csv",
    }


class TestSelfTest:
    """A bundle simulates bursts that no fit has seen, and is used only if it does that well."""

    class Slower(Measurement):
        """An engine whose GPU takes twice as long in the held-out bursts as in the others."""

        def _recorded(self) -> BurstFrames:
            # kernels as long as a real model's, so that the GPU sets the pace
            return recorded_bursts(self._params, 100, held_out_scale=2.0)

        def _kernels(self, parts: Path) -> None:
            super()._kernels(parts)
            for file in (LINEARS, HEADS, ATTENTION_CASES):
                _multiply_times(parts / file.file, 100)

    def test_a_sound_bundle_predicts_what_it_was_not_fitted_on(self, profiled) -> None:
        tested = profiled.meta.self_test
        assert (tested.bursts, tested.requests) == (2, 56)
        assert set(tested.error_pct) == {"ITL p50", "TPOT mean", "E2E p50", "TTFT p50", "TTFT p90"}
        assert abs(tested.error_pct["ITL p50"]) < 2
        assert abs(tested.error_pct["TPOT mean"]) < 3
        assert all(abs(error) < 2 for error in tested.layers_pct.values())

    def test_every_fit_stands_in_the_bundle_with_what_it_rests_on(self, profiled) -> None:
        fits = profiled.meta.fits
        assert {"schedule", "execute full", "client request in", "factor: full graph of 4"} <= set(
            fits
        )
        assert all(fit.rows >= 0 and fit.interval_pct >= 0 for fit in fits.values())
        assert fits["factor: full graph of 4"].factor == pytest.approx(1.0, abs=0.01)
        assert fits["schedule"].factor is None

    def test_a_bundle_that_fails_it_is_filed_refused_and_names_the_layer(self, config, out) -> None:
        meta = run(config, out, launch=self.Slower(config))
        check = meta.quality["self_test"]
        assert not check.passed
        assert check.value < -25
        with pytest.raises(ProfilingBundleError, match="failed its self-test.*GPU.*vidur-profile"):
            validate_profiling_root(out, config)

    def test_the_command_does_not_end_well_with_a_bundle_that_fails_it(self, config, out) -> None:
        meta = run(config, out, launch=self.Slower(config))
        with pytest.raises(ProfilingBundleError, match="failed its self-test.*GPU.*again"):
            told_of(meta, out)

    def test_a_bundle_that_was_refused_is_measured_anew(self, config, out) -> None:
        run(config, out, launch=self.Slower(config))
        again = Measurement(config)
        run(config, out, launch=again)
        assert again.started == ["burst_process", "kernel_process"]
        assert validate_profiling_root(out, config).self_test is not None

    @pytest.mark.usefixtures("filed")
    def test_a_bundle_whose_steps_were_not_observed_is_refused_with_the_reason(
        self, config, out
    ) -> None:
        steps = BURST_STEPS.read(host_dir(out)).drop(columns=list(OBSERVED))
        BURST_STEPS.write(steps, host_dir(out))
        (out / MANIFEST_FILE).unlink()  # of a release that had none
        with pytest.raises(ProfilingBundleError, match="were not observed.*vidur-profile"):
            validate_profiling_root(out, config)


def _multiply_times(file: Path, factor: float) -> None:
    """Of a part on disk, every statistic of a kernel's time."""

    def multiplied(value: Any) -> Any:
        if isinstance(value, list):
            return [multiplied(one) for one in value]
        if not isinstance(value, dict):
            return value
        return {
            name: one * factor if name in STATISTICS else multiplied(one)
            for name, one in value.items()
        }

    file.write_text(json.dumps(multiplied(read_json(file))))


def test_linear_kernels_are_predicted_on_points_that_the_fit_did_not_see(profiled) -> None:
    assert (
        max(
            profiled.meta.fitted_error_pct[operator].median
            for operator in ("attn_pre_proj", "mlp_up_proj", "qk_norm")
        )
        < 0.01
    )


def test_a_valid_bundle_of_the_same_configuration_is_not_measured_again(config, out, filed) -> None:
    again = Measurement(config)
    assert run(config, out, launch=again) == filed
    assert again.started == []


def test_a_bundle_of_another_version_of_the_engine_is_measured_anew(config, out) -> None:
    older = Measurement(config)
    older._params = older._params.model_copy(update={"engine_version": "0.1.0"})
    run(config, out, launch=older)
    again = Measurement(config)
    assert run(config, out, launch=again).engine_version == installed_engine(config).version
    assert again.started


def test_a_bundle_of_a_cpu_with_other_instructions_is_measured_anew(config, out) -> None:
    elsewhere = Measurement(config)
    elsewhere._params = elsewhere._params.model_copy(update={"native_library": "_C_ELSEWHERE"})
    run(config, out, launch=elsewhere)
    again = Measurement(config)
    run(config, out, launch=again)
    assert again.started


def test_measurements_that_make_no_bundle_are_not_gone_on_with(config, out) -> None:
    class TooFewSteps(Measurement):
        def _bursts(self, parts: Path) -> None:
            super()._bursts(parts)
            steps = BURST_STEPS.read(parts / BURSTS_DIR)
            BURST_STEPS.write(steps[steps["kind"] != "idle"], parts / BURSTS_DIR)

    with pytest.raises(ProfilingBundleError, match="cannot be fitted"):
        run(config, out, launch=TooFewSteps(config))
    whole = Measurement(config)
    run(config, out, launch=whole)
    assert whole.started == ["burst_process", "kernel_process"]


@pytest.mark.usefixtures("filed")
@pytest.mark.parametrize(
    "override", ["backend.gpu_memory_utilization=0.5", "profiling.repeats=9", "model.seed=3"]
)
def test_another_configuration_is_measured(config, out, override) -> None:
    head, value = override.split("=")
    group, key = head.split(".")
    changed = config.model_copy(
        update={
            group: getattr(config, group).model_copy(
                update={key: type(getattr(getattr(config, group), key))(value)}
            )
        }
    )
    again = Measurement(changed)
    run(changed, out, launch=again)
    assert again.started == ["burst_process", "kernel_process"]


@pytest.mark.usefixtures("filed")
def test_what_does_not_change_a_measurement_does_not_repeat_it(config, out) -> None:
    changed = config.model_copy(
        update={
            "backend": config.backend.model_copy(
                update={
                    "request_timeout_s": 5.0,
                    "early_stopping": True,
                    "null_token_interval_ms": 3.0,
                }
            )
        }
    )
    again = Measurement(changed)
    run(changed, out, launch=again)
    assert again.started == []


@pytest.mark.usefixtures("filed")
def test_a_spoilt_bundle_is_measured_again(config, out) -> None:
    (out / "head.csv").unlink()
    again = Measurement(config)
    run(config, out, launch=again)
    assert again.started == ["burst_process", "kernel_process"]


@pytest.mark.usefixtures("filed")
def test_force_measures_everything_again(config, out) -> None:
    again = Measurement(config)
    run(config, out, launch=again, force=True)
    assert again.started == ["burst_process", "kernel_process"]


def test_an_interrupted_profile_goes_on_with_the_parts_it_has(config, out) -> None:
    with pytest.raises(EngineError):
        run(config, out, launch=Measurement(config, fail_in="kernel_process"))
    assert not out.exists()
    rest = Measurement(config)
    run(config, out, launch=rest)
    assert rest.started == ["kernel_process"]
    assert not list(out.parent.glob(".unfinished-*"))


def test_the_parts_of_another_configuration_are_not_used(config, out) -> None:
    with pytest.raises(EngineError):
        run(config, out, launch=Measurement(config, fail_in="kernel_process"))
    changed = config.model_copy(
        update={"profiling": config.profiling.model_copy(update={"repeats": 9})}
    )
    whole = Measurement(changed)
    run(changed, out, launch=whole)
    assert whole.started == ["burst_process", "kernel_process"]


@pytest.mark.parametrize("spoil", ["zero", "nan", "twice"])
def test_a_measurement_that_cannot_be_is_not_filed(config, out, spoil) -> None:
    class Spoilt(Measurement):
        def _kernels(self, parts: Path) -> None:
            super()._kernels(parts)
            if spoil == "twice":
                rows = ATTENTION_CASES.read(parts).rows
                ATTENTION_CASES.write([*rows, rows[0]], 1.0, parts)
                return
            file = parts / HEADS.file
            heads = read_json(file)
            heads["rows"][0]["time"]["median"] = 0.0 if spoil == "zero" else float("nan")
            file.write_text(json.dumps(heads))

    with pytest.raises(
        ArtifactError,
        match={
            "zero": "lm_head.median is zero",
            "nan": "head_times.json is not JSON: NaN is no number",
            "twice": r"attention.csv.*the same batch_size",
        }[spoil],
    ):
        run(config, out, launch=Spoilt(config))
    assert not out.exists()


@pytest.mark.parametrize("backend", ["transformers", "null_engine"])
def test_only_vllm_can_be_profiled(config, out, backend) -> None:
    changed = config.model_copy(update={"backend": compose([f"backend={backend}"]).backend})
    with pytest.raises(PresetError, match="use backend=vllm"):
        run(changed, out, launch=Measurement(changed))
    assert not out.parent.exists()


def test_a_gpu_target_needs_its_gpu(config, out, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    changed = config.model_copy(update={"hardware": compose(["hardware=h100"]).hardware})
    with pytest.raises(DeviceError, match="hardware=cpu"):
        run(changed, out, launch=Measurement(changed))
    assert not out.parent.exists()


def test_an_engine_that_dies_leaves_no_bundle(config, out) -> None:
    with pytest.raises(GpuTimingError):
        run(config, out, launch=Measurement(config, fail_in="burst_process"))
    assert not out.exists()
    assert parts_dir(out, config.bundle_config_sha256, installed_engine(config).version).is_dir()


def test_cpu_overheads_have_the_columns_of_vidurs_profiler(config, tmp_path) -> None:
    params = engine_params(config)
    steps = recorded_bursts(params).steps
    write_cpu_overheads(steps, kernel_tables(params)[2], config, tmp_path)
    table = pd.read_csv(tmp_path / "cpu_overheads.csv")
    names = [
        f"{name}_{statistic}"
        for name in ("schedule", "prepare_inputs_e2e", "process_model_outputs")
        for statistic in STATISTICS
    ]
    assert {
        "model_name",
        "batch_size",
        "tensor_parallel_degree",
        "sampler_e2e_median",
        *names,
    } == set(table.columns)
    assert table["batch_size"].is_unique
    assert (table[[name for name in names if name.endswith("median")]] > 0).all(axis=None)
    # the loop's formula: 0.05 ms + 0.002 ms a request
    at_8 = table[table["batch_size"] == 8].iloc[0]
    assert at_8["schedule_median"] == pytest.approx(0.066, rel=0.05)


def test_a_bundle_measures_what_the_engine_resolved_not_the_preset(profiled) -> None:
    engine = read_json(profiled.root / "engine.json")
    assert (engine["num_kv_blocks"], engine["graph_capture_sizes"]) == (257, [1, 2, 4, 8, 16, 32])
    assert read_json(profiled.root / "run_meta.json")["params"] == engine


def test_the_helper_bundle_is_one_that_profiling_would_file(tmp_path) -> None:
    # the other tests stand on it
    config = target_config(tmp_path)
    root = write_bundle(config.data.profiling_root("h100", "qwen3-tiny"), config)
    assert validate_profiling_root(root, config).failed_checks == []
    shutil.rmtree(root)

"""The gate: runs that are not comparable are refused, setting by setting."""

from typing import Any

import pytest

from gpu_timing_assets.compare import ComparisonInputs
from gpu_timing_assets.compare.gate.admission import admit, check_settings, judged_simulation
from gpu_timing_assets.compare.gate.settings import differences, settings_table
from gpu_timing_assets.compare.stage import compare
from gpu_timing_assets.config.comparison import ComparisonPreset
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.errors import (
    ArtifactError,
    GpuTimingError,
    IncomparableRunsError,
    UnfinishedArtifactError,
)
from gpu_timing_assets.core.files import write_json
from gpu_timing_assets.core.run import RUN_META_FILE, SimRunMeta, read_complete_run
from gpu_timing_assets_tests.unit.compare.synthetic_runs import (
    DIMENSIONS,
    MS,
    configuration,
    engine_params,
    real_meta,
    served,
    sim_meta,
    write_run,
)

STRICT = ComparisonPreset(kv_blocks_tolerance_pct=0.0)
LENIENT = ComparisonPreset(kv_blocks_tolerance_pct=0.0, allow_mismatch=True)


def simulation(**changes) -> SimRunMeta:
    return sim_meta("sim", params=engine_params(**changes))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("max_num_batched_tokens", 512),
        ("max_num_seqs", 128),
        ("enable_chunked_prefill", False),
        ("async_scheduling", False),
        ("enable_prefix_caching", True),
        ("num_kv_blocks", 3400),
        ("kv_block_size", 32),
        ("attention_backend", "TRITON_ATTN"),
        ("graph_mode", "NONE"),
        ("graph_capture_sizes", (1, 2)),
        ("tensor_parallel_size", 2),
        ("dtype", "float16"),
        ("engine_version", "0.25.0"),
        ("scheduling_policy", "priority"),
        ("kv_cache_dtype", "fp8"),
        ("max_model_len", 1024),
        ("native_library", "_C_AVX2"),
        ("model_dimensions", DIMENSIONS.model_copy(update={"head_dim": 32})),
    ],
)
def test_a_setting_that_differs_refuses_and_is_named(setting, value) -> None:
    with pytest.raises(
        IncomparableRunsError, match=rf"{setting}[.\w]* is .* in the real run, .* in sim"
    ):
        check_settings([real_meta("real")], [simulation(**{setting: value})], STRICT)
    overridden, listed = check_settings(
        [real_meta("real")], [simulation(**{setting: value})], LENIENT
    )
    assert len(overridden) == 1
    assert listed == []


@pytest.mark.parametrize(
    "changes",
    [
        {"workload_sha256": "6" * 64},
        {"workload_id": "other"},
        {"model": "other"},
        {"hardware": "a100"},
        {"backend": "transformers"},
    ],
)
def test_another_workload_or_target_refuses(changes) -> None:
    with pytest.raises(IncomparableRunsError, match=next(iter(changes))):
        check_settings([real_meta("real")], [sim_meta("sim", **changes)], STRICT)


def test_all_mismatches_are_named_at_once() -> None:
    with pytest.raises(IncomparableRunsError, match=r"max_num_seqs.*num_kv_blocks"):
        check_settings([real_meta("real")], [simulation(max_num_seqs=1, num_kv_blocks=1)], STRICT)


def test_a_setting_that_one_side_does_not_record_refuses() -> None:
    with pytest.raises(
        IncomparableRunsError, match="native_library is null in the real run, _C in sim"
    ):
        check_settings([real_meta("real")], [simulation(native_library="_C")], STRICT)
    nested = simulation(other={"seed": 1})
    [found] = differences([real_meta("real")], [nested])
    assert found.text == "other.seed is not recorded in the real run, 1 in sim"


def test_what_does_not_decide_timing_is_listed_and_does_not_refuse() -> None:
    changed = simulation(device_name="H100 PCIe", attention_backend_version="3", other={"seed": 1})
    overridden, listed = check_settings([real_meta("real")], [changed], STRICT)
    assert overridden == []
    assert len(listed) == 3


@pytest.mark.parametrize(
    ("blocks", "refuses"), [(1020, False), (980, False), (1021, True), (979, True)]
)
def test_kv_blocks_may_differ_by_the_tolerance_and_are_listed(blocks, refuses) -> None:
    preset = ComparisonPreset(kv_blocks_tolerance_pct=2.0, allow_mismatch=True)
    overridden, listed = check_settings(
        [real_meta("real")], [simulation(num_kv_blocks=blocks)], preset
    )
    assert (len(overridden), len(listed)) == ((1, 0) if refuses else (0, 1))


def test_a_simulation_that_only_says_that_it_cached_prefixes_is_refused() -> None:
    cached = engine_params(enable_prefix_caching=True)
    real = real_meta("real", params=cached)
    with pytest.raises(IncomparableRunsError, match="enable_prefix_caching is true in the real"):
        check_settings([real], [sim_meta("sim", params=cached)], STRICT)
    named = sim_meta("sim", params=cached, simulated_settings=("enable_prefix_caching",))
    assert differences([real], [named]) == []


def test_repeats_must_agree_even_in_what_is_only_listed_for_a_simulation() -> None:
    with pytest.raises(IncomparableRunsError, match="device_name"):
        check_settings(
            [real_meta("real-0"), real_meta("real-1", params=engine_params(device_name="A10"))],
            [simulation()],
            STRICT,
        )


def test_equal_runs_differ_in_nothing() -> None:
    assert differences([real_meta("real-0"), real_meta("real-1")], [simulation()]) == []
    table = settings_table([real_meta("real")], [simulation()])
    assert set(table["parity"]) == {"equal"}
    assert {"num_kv_blocks", "workload_sha256", "model_dimensions.head_dim"} <= set(table["knob"])


def sims() -> list[SimRunMeta]:
    old = engine_params(max_num_seqs=8)
    return [
        sim_meta("old-forest", params=old, predictor="random_forest"),
        sim_meta("kernels", predictor="kernels_only"),
        sim_meta("old-substituted", params=old, substitution="recorded_batches"),
        sim_meta("loop"),
    ]


def test_what_is_not_judged_and_not_comparable_is_left_out_and_named() -> None:
    admission = admit([real_meta("real")], sims(), STRICT)
    assert (admission.judged, admission.admitted) == (3, (1, 3))
    assert admission.overridden == []
    assert [text.split(":")[0] for text in admission.left_out] == [
        "old-forest is left out, it is not comparable",
        "old-substituted is left out, it is not comparable",
    ]
    assert "max_num_seqs is 64 in the real run, 8 in old-forest" in admission.left_out[0]
    everything = admit([real_meta("real")], sims(), LENIENT)
    assert everything.admitted == (0, 1, 2, 3)
    assert len(everything.overridden) == 2


def test_the_preset_says_which_simulation_is_judged() -> None:
    assert judged_simulation(sims(), "engine_loop") == 3
    assert judged_simulation(sims(), "kernels_only") == 1
    assert judged_simulation([sim_meta("a", simulator="native", predictor=None)], "native") == 0


def test_of_a_time_model_the_simulation_at_the_runs_host_speed_is_judged() -> None:
    corrected = sim_meta("corrected", host_ratio=1.1)
    substituted = sim_meta("batches", host_ratio=1.1, substitution="recorded_batches")
    assert judged_simulation([*sims(), substituted, corrected], "engine_loop") == 5
    assert judged_simulation([*sims(), corrected], "kernels_only") == 1


def test_without_it_the_first_plain_one_is_judged_and_must_be_comparable() -> None:
    assert judged_simulation(sims()[:3], "engine_loop") == 0
    with pytest.raises(IncomparableRunsError, match="8 in old-forest"):
        admit([real_meta("real")], sims()[:3], STRICT)


@pytest.fixture
def runs(tmp_path):
    """Writes a real run and a simulation with changed metadata, and compares them."""

    def make(real=None, simulated=None, **comparison):
        arrivals, times = served(requests=4)
        inputs = ComparisonInputs(
            (write_run(tmp_path / "real", arrivals, times, **(real or {})),),
            (
                write_run(
                    tmp_path / "sim", arrivals, times, run_type="simulated", **(simulated or {})
                ),
            ),
        )
        return compare(
            configuration(bootstrap_resamples=100, **comparison), inputs, tmp_path / "out"
        )

    return make


@pytest.mark.parametrize(
    ("real", "simulated", "error", "message"),
    [
        (
            {"status": "invalid", "invalid_reasons": ("late by 9 ms",)},
            {},
            UnfinishedArtifactError,
            "late by 9",
        ),
        ({"status": "failed"}, {}, UnfinishedArtifactError, "has status 'failed'"),
        ({}, {"status": "invalid"}, UnfinishedArtifactError, "has status 'invalid'"),
        (
            {"params": engine_params(comparable_under_load=False)},
            {},
            IncomparableRunsError,
            "not comparable under load",
        ),
        (
            {"backend": "null_engine"},
            {"backend": "null_engine"},
            IncomparableRunsError,
            "measures the client and no engine",
        ),
        ({}, {"workload_sha256": "6" * 64}, IncomparableRunsError, "workload_sha256"),
        (
            {},
            {"substitution": "recorded_batches"},
            IncomparableRunsError,
            "add a plain one",
        ),
    ],
)
def test_what_is_not_comparable_is_refused_and_leaves_no_report(
    runs, tmp_path, real, simulated, error, message
) -> None:
    with pytest.raises(error, match=message) as refused:
        runs(real, simulated)
    assert isinstance(refused.value, GpuTimingError)
    assert refused.value.exit_code != 0
    assert not (tmp_path / "out").exists()


def test_an_override_is_said_at_the_top_of_the_report(runs) -> None:
    result = runs(
        {"status": "invalid", "invalid_reasons": ("late <b>",)},
        {"params": engine_params(num_kv_blocks=7)},
        allow_mismatch=True,
    )
    top = result.report.read_text().split("<table")[0]
    assert "not comparable; the gate was overridden" in top
    assert "num_kv_blocks is 1000 in the real run, 7 in sim" in top
    assert "late &lt;b&gt;" in top
    assert "num_kv_blocks is 1000" in result.summary.read_text().split("| simulation |")[0]
    assert "num_kv_blocks is 1000 in the real run, 7 in sim" in result.notes


def test_a_plain_reference_is_comparable_where_no_two_requests_overlap(tmp_path) -> None:
    from gpu_timing_assets.compare.gate.align import align
    from gpu_timing_assets.compare.gate.load import load_run, read_metas
    from gpu_timing_assets.compare.gate.single_request import refuse_single_request_backend

    def aligned(name, arrivals):
        times = [[arrival + 5 * MS, arrival + 9 * MS] for arrival in arrivals]
        params = engine_params(comparable_under_load=False)
        real = write_run(tmp_path / name / "real", arrivals, times, params=params)
        sim = write_run(tmp_path / name / "sim", arrivals, times, run_type="simulated")
        [real_meta], [sim_meta] = read_metas(ComparisonInputs((real,), (sim,)), allow_invalid=False)
        return align([load_run(real, real_meta, "real")], [load_run(sim, sim_meta, "engine")])

    assert refuse_single_request_backend(aligned("apart", [0, 10 * MS]), allow_mismatch=False) == []
    with pytest.raises(IncomparableRunsError, match="its requests overlap"):
        refuse_single_request_backend(aligned("together", [0, 8 * MS]), allow_mismatch=False)


@pytest.mark.parametrize(
    "inputs",
    [
        ((), ("sim",)),
        (("real",), ()),
        (("sim",), ("sim",)),
        (("real",), ("real",)),
        (("real", "real"), ("sim",)),
        (("nowhere",), ("sim",)),
    ],
)
def test_directories_on_the_wrong_side_or_missing_are_refused(tmp_path, inputs) -> None:
    arrivals, times = served(requests=2)
    write_run(tmp_path / "real", arrivals, times)
    write_run(tmp_path / "sim", arrivals, times, run_type="simulated")
    real, simulated = (tuple(tmp_path / name for name in names) for names in inputs)
    with pytest.raises(GpuTimingError):
        compare(configuration(), ComparisonInputs(real, simulated), tmp_path / "out")
    assert not (tmp_path / "out").exists()


REQUIRED = [name for name, field in EngineParams.model_fields.items() if field.is_required()]


def without(params: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in params.items() if key != name}


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda params: {},
        *(lambda params, name=name: without(params, name) for name in REQUIRED),
        *(lambda params, name=name: {**params, name: None} for name in REQUIRED),
        lambda params: {**params, "engine_version": ""},
        lambda params: {**params, "max_num_seqs": 0},
        lambda params: {**params, "max_num_seqs": 2**70},
    ],
)
@pytest.mark.parametrize("meta", [real_meta("run"), sim_meta("run")], ids=["real", "simulated"])
def test_a_run_that_lacks_a_setting_is_no_run_even_where_the_other_side_lacks_it_too(
    tmp_path, meta, spoilt
) -> None:
    found = meta.model_dump(mode="json")
    write_json(tmp_path / RUN_META_FILE, {**found, "params": spoilt(found["params"])})
    with pytest.raises(ArtifactError, match=r"run_meta.json: params\."):
        read_complete_run(tmp_path, type(meta))


@pytest.mark.parametrize("settings", [[], ["max_num_sequences"]])
def test_a_simulation_that_takes_account_of_no_setting_is_no_run(tmp_path, settings) -> None:
    found = sim_meta("sim").model_dump(mode="json")
    write_json(tmp_path / RUN_META_FILE, {**found, "simulated_settings": settings})
    with pytest.raises(ArtifactError, match=r"run_meta.json: simulated_settings"):
        read_complete_run(tmp_path, SimRunMeta)

"""What the engine resolved and its environment: what changes timing refuses, what is known not to
is not mentioned, everything else is listed.
"""

from typing import Any

import pytest

from gpu_timing_assets.compare.gate.known_settings import NO_EFFECT, TIMING, timing_reason
from gpu_timing_assets.compare.gate.settings import differences, settings_table
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets_tests.unit.compare.synthetic_runs import (
    engine_params,
    real_meta,
    sim_meta,
)


def params(
    resolved: dict[str, Any] | None = None, environment: dict[str, str | None] | None = None
) -> EngineParams:
    """Some of both is always recorded, so that neither counts as not recorded at all."""
    recorded = {
        "resolved": {"unchanged": 1, **(resolved or {})},
        "environment": {"UNCHANGED": "1", **(environment or {})},
    }
    return engine_params().model_copy(update=recorded)


def found(one: EngineParams, other: EngineParams) -> list[tuple[str, bool]]:
    real, simulated = real_meta("real", params=one), sim_meta("sim", params=other)
    return [(each.setting, each.refuses) for each in differences([real], [simulated])]


@pytest.mark.parametrize(
    "setting",
    [
        "environment.VLLM_USE_V2_MODEL_RUNNER",
        "environment.VLLM_ATTENTION_BACKEND",
        "environment.VLLM_FLASHINFER_ALLREDUCE_BACKEND",
        "environment.VLLM_TUNED_CONFIG_FOLDER",
        "environment.OMP_NUM_THREADS",
        "resolved.scheduler_config.policy",
        "resolved.scheduler_config.stream_interval",
        "resolved.compilation_config.pass_config.fuse_norm_quant",
        "resolved.compilation_config.custom_ops",
        "resolved.attention_config.backend",
        "resolved.model_config.quantization",
        "resolved.model_config.enforce_eager",
        "resolved.speculative_config.method",
        "resolved.cache_config.enable_prefix_caching",
        "resolved.parallel_config.data_parallel_size",
    ],
)
def test_what_changes_timing_refuses_and_says_what_it_decides(setting) -> None:
    group, name = setting.split(".", 1)
    one, other = (params(**{group: {name: value}}) for value in ("1", "0"))
    assert found(one, other) == [(setting, True)]
    [difference] = differences([real_meta("real", params=one)], [sim_meta("sim", params=other)])
    assert difference.text == (
        f"{setting} is 1 in the real run, 0 in sim (it decides {timing_reason(setting)})"
    )


@pytest.mark.parametrize(
    "setting",
    [
        "environment.VLLM_PORT",
        "environment.VLLM_HOST_IP",
        "environment.VLLM_CACHE_ROOT",
        "environment.VLLM_FLASHINFER_AUTOTUNE_CACHE_DIR",
        "environment.LD_LIBRARY_PATH",
        "environment.VLLM_LOGGING_LEVEL",
        "environment.VLLM_LOG_STATS_INTERVAL",
        "environment.VLLM_NO_USAGE_STATS",
        "environment.VLLM_API_KEY",
        "environment.HF_TOKEN",
        "environment.CUDA_VISIBLE_DEVICES",
        "environment.VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS",
        "resolved.instance_id",
        "resolved.model_config.model",
        "resolved.model_config.served_model_name",
        "resolved.model_config.hf_token",
        "resolved.compilation_config.cache_dir",
        "resolved.compilation_config.compilation_time",
        "resolved.compilation_config.enabled_custom_ops.rms_norm",
        "resolved.cache_config.num_gpu_blocks",
        "resolved.parallel_config.data_parallel_master_port",
        "resolved.observability_config.otlp_traces_endpoint",
    ],
)
def test_what_is_known_not_to_matter_is_mentioned_nowhere(setting) -> None:
    group, name = setting.split(".", 1)
    one, other = (params(**{group: {name: value}}) for value in ("1", "0"))
    assert found(one, other) == []
    table = settings_table([real_meta("real", params=one)], [sim_meta("sim", params=other)])
    assert setting not in set(table["knob"])


@pytest.mark.parametrize(
    "setting",
    [
        "environment.VLLM_SOMETHING_NEW",
        "resolved.model_config.max_logprobs",
        "resolved.scheduler_config.scheduler_cls",  # the one that records steps, or none
    ],
)
def test_what_nobody_knows_is_listed(setting) -> None:
    group, name = setting.split(".", 1)
    one, other = (params(**{group: {name: value}}) for value in ("1", "0"))
    assert found(one, other) == [(setting, False)]


def test_a_variable_that_is_not_set_equals_one_that_is_not_there() -> None:
    unset = params(environment={"VLLM_USE_V2_MODEL_RUNNER": None})
    assert found(unset, params()) == []
    assert found(unset, params(environment={"VLLM_USE_V2_MODEL_RUNNER": "1"})) == [
        ("environment.VLLM_USE_V2_MODEL_RUNNER", True)
    ]


@pytest.mark.parametrize("older_is_real", [True, False])
def test_data_from_before_they_were_recorded_differs_in_none(older_is_real) -> None:
    sides = (engine_params(), params(environment={"VLLM_USE_V2_MODEL_RUNNER": "1"}))
    assert found(*(sides if older_is_real else reversed(sides))) == []


def test_two_real_runs_are_held_against_each_other_in_the_same_way() -> None:
    runs = [
        real_meta(f"real-{value}", params=params(environment={name: value}))
        for value in ("0", "1")
        for name in ("VLLM_USE_V2_MODEL_RUNNER",)
    ]
    assert [(each.run_id, each.refuses) for each in differences(runs, [])] == [("real-1", True)]


def test_a_setting_that_a_simulator_does_not_take_account_of_is_listed() -> None:
    other = engine_params(enable_prefix_caching=True, max_num_seqs=8)
    simulated = sim_meta("sim", params=other, simulated_settings=("max_num_seqs",))
    refusing = {each.setting: each.refuses for each in differences([real_meta("r")], [simulated])}
    assert refusing == {"enable_prefix_caching": False, "max_num_seqs": True}


def test_no_simulator_may_leave_out_what_the_work_and_the_target_are() -> None:
    simulated = sim_meta("sim", workload_sha256="6" * 64, simulated_settings=("dtype",))
    [difference] = differences([real_meta("real")], [simulated])
    assert difference.refuses


def test_no_pattern_stands_under_two_reasons() -> None:
    for known in (TIMING, NO_EFFECT):
        patterns = [pattern for group in known.values() for pattern in group.split()]
        assert len(patterns) == len(set(patterns))

"""What the launchpad accepts, and that the rest is refused before anything starts."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pytest
import yaml

from gpu_timing_assets.config.experiment import compose, preset_names
from gpu_timing_assets.core.data_root import PROJECT_ROOT, WORKLOAD_ID_PATTERN
from gpu_timing_assets.core.errors import PresetError
from gpu_timing_assets.dagster_app import partitions
from gpu_timing_assets.dagster_app.launchpad import (
    COMPARISON_SCHEMA,
    SIM_RUN_SCHEMA,
    TARGET_GROUPS,
    TARGET_SCHEMA,
    WORKLOAD_SPEC_SCHEMA,
    presets_of,
)
from gpu_timing_assets.dagster_app.preset_schema import as_changes
from gpu_timing_assets.dagster_app.target import Choice, TargetResource
from gpu_timing_assets.definitions import defs

SCHEMAS = {
    "workload": WORKLOAD_SPEC_SCHEMA,
    "simulator": SIM_RUN_SCHEMA,
    "comparison": COMPARISON_SCHEMA,
    "target": TARGET_SCHEMA,
}


def chosen(config: Mapping[str, Any]) -> TargetResource:
    return TargetResource(Choice.of_target(config))


def validated(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The run configuration as Dagster reads it, or as it refuses it, before there is a run."""
    return dg.validate_run_config(defs.resolve_job_def("whole_graph"), config) or {}


def target_config(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"resources": {"target": {"config": config}}}


def overrides_of(asset: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    return {"ops": {asset: {"config": {"overrides": overrides}}}}


def test_target_chooses_presets_and_overrides():
    config = {"hardware": "h100", "backend": "vllm", "overrides": {"hardware": {"repeats": 8}}}
    validated(target_config(config))
    experiment = chosen(config).experiment("chat_poisson")
    assert (experiment.hardware.name, experiment.hardware.repeats) == ("h100", 8)
    assert experiment.workload.workload_id == "chat_poisson"


def test_the_machines_target_stands_before_the_launchpads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GPU_TIMING_TARGET", "hardware=h100 model=qwen3-0.6b")
    assert TargetResource().id.startswith("qwen3-0.6b--h100")
    assert chosen({"hardware": "a100"}).id.startswith("qwen3-0.6b--a100")


def test_what_an_asset_chooses_comes_on_top_of_the_target():
    target = chosen({"overrides": {"backend": {"max_num_seqs": 3}}})
    experiment = target.experiment(
        "smoke", Choice({"simulator": "kernels_only"}, {"simulator": {"seed": 5}})
    )
    assert (
        experiment.backend.max_num_seqs,
        experiment.simulator.predictor,
        experiment.simulator.seed,
    ) == (3, "kernels_only", 5)


@pytest.mark.parametrize(
    "config",
    [
        target_config({"hardware": "h1000"}),
        target_config({"hardwar": "h100"}),
        target_config({"overrides": {"backend": {"max_num_sequences": 1}}}),
        target_config({"overrides": {"backend": {"max_num_seqs": "many"}}}),
        target_config({"overrides": {"workload": {"seed": 1}}}),
        target_config({"overrides": {"model": {"dtype": "int4"}}}),
        {"ops": {"sim_run": {"config": {"preset": "engin"}}}},
        {"ops": {"sim_run": {"config": {"presets": "engine_loop"}}}},
        overrides_of("sim_run", {"sead": 1}),
        overrides_of("sim_run", {"substitution": "recorded_batch"}),
        overrides_of("comparison", {"pass_pct": None}),
        overrides_of("workload_spec", {"arrivals": {"poison": {"rate_per_s": 1.0}}}),
        overrides_of("workload_spec", {"arrivals": {"poisson": {"rate": 1.0}}}),
        overrides_of(
            "workload_spec",
            {"arrivals": {"poisson": {"rate_per_s": 1.0}, "constant": {"rate_per_s": 1.0}}},
        ),
        {"ops": {"profiling_bundle": {"config": {"force": "yes, please"}}}},
    ],
)
def test_a_wrong_key_preset_or_type_is_refused_before_a_run_starts(config: dict[str, Any]):
    with pytest.raises(dg.DagsterInvalidConfigError):
        validated(config)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (
            {"overrides": {"backend": {"max_num_seqs": 0}}},
            "backend.max_num_seqs: Input should be greater than or equal to 1",
        ),
        ({"overrides": {"backend": {"python": "python"}}}, "must be an absolute path"),
    ],
)
def test_a_target_that_does_not_validate_is_refused_before_a_run_starts(
    config: dict[str, Any], says: str
):
    with pytest.raises(dg.DagsterInvalidConfigError, match=says):
        validated(target_config(config))


def test_dagster_accepts_right_ones():
    validated(
        {
            "resources": {
                "target": {
                    "config": {"hardware": "cpu", "overrides": {"backend": {"max_num_seqs": 4}}}
                }
            },
            "ops": {
                "sim_run": {
                    "config": {
                        "preset": "kernels_only",
                        "overrides": {"seed": 1, "substitution": "recorded_batches"},
                    }
                },
                "workload_spec": {"config": {"overrides": {"num_requests": None, "duration_s": 5}}},
                "profiling_bundle": {"config": {"force": True}},
            },
        }
    )


def selectors(value: Any) -> Any:
    """A dumped preset as the launchpad spells it: what has a `kind` stands below its kind."""
    if isinstance(value, list):
        return [selectors(item) for item in value]
    if not isinstance(value, dict):
        return value
    fields = {key: selectors(item) for key, item in value.items() if key != "kind"}
    return {value["kind"]: fields} if "kind" in value else fields


@pytest.mark.parametrize("workload_id", preset_names("workload"))
def test_every_workload_can_be_spelled_as_overrides_of_another(workload_id: str):
    wanted = compose([f"workload={workload_id}"]).workload
    overrides = selectors(wanted.model_dump(mode="json", exclude={"workload_id"}))
    read = validated(overrides_of("workload_spec", overrides))["ops"]["workload_spec"]["config"][
        "overrides"
    ]
    changes = as_changes(presets_of("workload"), "workload", read)
    assert compose(["workload=smoke"], {"workload": changes}).workload == wanted.model_copy(
        update={"workload_id": "smoke"}
    )


def test_another_kind_replaces_and_the_same_kind_changes_what_is_given():
    bursty = {"arrivals": {"kind": "gamma", "rate_per_s": 2.0, "cv": 3.0}}
    same = compose(
        ["workload=smoke"], {"workload": {"arrivals": {"kind": "poisson", "rate_per_s": 9.0}}}
    )
    other = compose(["workload=smoke"], {"workload": bursty})
    assert (same.workload.arrivals.kind, getattr(same.workload.arrivals, "rate_per_s", None)) == (
        "poisson",
        9.0,
    )
    assert other.workload.arrivals.model_dump() == bursty["arrivals"]


def test_a_value_out_of_its_bounds_names_its_field():
    with pytest.raises(PresetError, match="comparison.pass_pct: Input should be greater than 0"):
        TargetResource().experiment("smoke", Choice(changes={"comparison": {"pass_pct": -1.0}}))


def fields_of(field: Any, path: str) -> Iterator[tuple[str, Any]]:
    """All fields of a schema, whatever they are nested in."""
    yield path, field
    config_type = getattr(field, "config_type", None) or dg.Field(field).config_type
    while hasattr(config_type, "inner_type"):
        config_type = config_type.inner_type
    for name, inner in getattr(config_type, "fields", {}).items():
        yield from fields_of(inner, f"{path}.{name}")


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_setting_has_help(name: str):
    fields = [found for key, field in SCHEMAS[name].items() for found in fields_of(field, key)]
    assert [path for path, field in fields if not field.description] == []
    assert len(fields) > 5


def test_help_says_the_bounds():
    help_of = {
        path: field.description
        for key, field in WORKLOAD_SPEC_SCHEMA.items()
        for path, field in fields_of(field, key)
    }
    assert help_of["overrides.num_requests"].endswith("[≥ 1, ≤ 1e+07]")
    assert help_of["overrides.duration_s"].endswith("[> 0, ≤ 1e+09]")


@pytest.mark.parametrize(
    "config",
    [
        overrides_of("workload_spec", {"workload_id": "other"}),
        *(target_config({"overrides": {group: {"name": "other"}}}) for group in TARGET_GROUPS),
    ],
)
def test_what_a_preset_is_called_cannot_be_overridden(config: dict[str, Any]):
    with pytest.raises(dg.DagsterInvalidConfigError, match="unexpected config entry"):
        validated(config)


def test_partitions_are_the_workload_presets():
    keys = partitions.WORKLOADS.get_partition_keys()
    assert keys == preset_names("workload")
    assert "chat_poisson" in keys


@pytest.mark.parametrize("name", ["a/b", "a,b", "a...b", "A", "-a", "", "a b", "é"])
def test_a_preset_file_that_cannot_be_a_partition_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(partitions, "preset_names", lambda group: [name])
    with pytest.raises(
        Exception,
        match=WORKLOAD_ID_PATTERN.replace("\\", "")
        .replace("[", r"\[")
        .replace("^", r"\^")
        .replace("*", r"\*")
        .replace("$", r"\$"),
    ):
        partitions.workload_partition_keys()


def test_a_run_configuration_of_an_older_release_is_taken():
    config = {
        "preset": "kernel",
        "overrides": {"predictor": "stock", "variant": "recorded_batches"},
    }
    read = validated({"ops": {"sim_run": {"config": config}}})["ops"]["sim_run"]["config"]
    changes = as_changes(presets_of("simulator"), "simulator", read["overrides"])
    of_asset = Choice({"simulator": read["preset"]}, {"simulator": changes})
    simulator = TargetResource().experiment("smoke", of_asset).simulator
    assert simulator.run_label == "random-forest--recorded-batches"


def test_older_names_are_offered_with_todays():
    names = SIM_RUN_SCHEMA["preset"].config_type.enum_values
    assert {value.config_value: value.description for value in names} == {
        "engine_loop": None,
        "kernels_only": None,
        "random_forest": None,
        "stock": "Called `random_forest` now.",
        "kernel": "Called `kernels_only` now.",
        "engine": "Called `engine_loop` now.",
    }
    overrides = SIM_RUN_SCHEMA["overrides"].config_type.fields
    assert overrides["variant"].description == "Called `substitution` now."


@pytest.mark.parametrize("settings", ["dagster.yaml", "deploy/celery/dagster.yaml"])
def test_a_step_says_what_an_older_name_is_called_in_the_runs_log(settings: str):
    logs = yaml.safe_load((PROJECT_ROOT / settings).read_text())["python_logs"]

    @dg.asset
    def simulated() -> None:
        TargetResource().experiment("smoke", Choice({"simulator": "engine"}))

    with dg.instance_for_test(overrides={"python_logs": logs}) as instance:
        result = dg.materialize([simulated], instance=instance)
        lines = [(entry.step_key, entry.user_message) for entry in instance.all_logs(result.run_id)]
    assert ("simulated", "simulator=engine is called simulator=engine_loop now") in lines

"""What the launchpad accepts, and that the rest is refused before anything starts."""

from typing import Any

import dagster as dg
import pytest
from pydantic import ValidationError

from gpu_timing_assets.artifacts.layout import WORKLOAD_ID_PATTERN
from gpu_timing_assets.definitions import defs
from gpu_timing_assets.orchestration import partitions
from gpu_timing_assets.orchestration.launchpad import (
    ComparisonConfig,
    ProfilingBundleConfig,
    SimRunConfig,
    TargetResource,
    WorkloadSpecConfig,
)
from gpu_timing_assets.presets.experiment import preset_names

KINDS = [SimRunConfig, ComparisonConfig, WorkloadSpecConfig, ProfilingBundleConfig, TargetResource]


def test_target_chooses_presets_and_overrides():
    target = TargetResource(hardware="h100", backend="vllm", overrides=["hardware.repeats=8"])
    experiment = target.experiment("chat_poisson")
    assert (experiment.hardware.name, experiment.hardware.repeats) == ("h100", 8)
    assert experiment.workload.workload_id == "chat_poisson"


def test_the_machines_target_stands_before_the_launchpads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GPU_TIMING_TARGET", "hardware=h100 model=qwen3-0.6b")
    assert TargetResource().experiment().target_id.startswith("qwen3-0.6b--h100")
    assert TargetResource(hardware="a100").experiment().target_id.startswith("qwen3-0.6b--a100")


@pytest.mark.parametrize("config", [
    {"resources": {"target": {"config": {"hardware": "h1000"}}}},
    {"resources": {"target": {"config": {"hardwar": "h100"}}}},
    {"ops": {"sim_run": {"config": {"preset": "engin"}}}},
    {"ops": {"sim_run": {"config": {"presets": "engine"}}}},
    {"ops": {"profiling_bundle": {"config": {"force": "yes, please"}}}},
    {"ops": {"workload_spec": {"config": {"overrides": "workload.seed=1"}}}},
])
def test_dagster_refuses_a_wrong_key_or_preset_before_a_run_starts(config: dict[str, Any]):
    job = defs.resolve_job_def("whole_graph")
    with pytest.raises(dg.DagsterInvalidConfigError):
        dg.validate_run_config(job, config)


def test_dagster_accepts_right_ones():
    dg.validate_run_config(defs.resolve_job_def("whole_graph"), {
        "resources": {"target": {"config": {"hardware": "cpu", "overrides": ["backend.max_num_seqs=4"]}}},
        "ops": {"sim_run": {"config": {"preset": "kernel", "overrides": ["simulator.seed=1"]}},
                "profiling_bundle": {"config": {"force": True}}}})


@pytest.mark.parametrize(("kind", "overrides", "says"), [
    (SimRunConfig, ["simulator.sead=1"], "did you mean simulator.seed"),
    (SimRunConfig, ["backend.max_num_seqs=1"], "not an override of simulator"),
    (ComparisonConfig, ["comparison.pass_pct=-1"], "comparison.pass_pct"),
    (WorkloadSpecConfig, ["hardware=h100"], "not an override of workload"),
    (TargetResource, ["workload=chat_poisson"], "not an override of model or hardware or backend or profiling"),
    (TargetResource, ["backend.max_num_sequences=1"], "did you mean backend.max_num_seqs"),
])
def test_overrides_are_composed_when_the_configuration_is_read(kind: type, overrides: list[str], says: str):
    with pytest.raises(ValidationError, match=says):
        kind(overrides=overrides)


@pytest.mark.parametrize("kind", KINDS)
def test_python_callers_cannot_pass_unknown_keys(kind: type):
    with pytest.raises(ValidationError, match="unknown_key"):
        kind(unknown_key=1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_has_help(kind: Any):
    assert [name for name, field in kind.model_fields.items() if not field.description] == []


def test_partitions_are_the_workload_presets():
    keys = partitions.WORKLOADS.get_partition_keys()
    assert keys == preset_names("workload")
    assert "chat_poisson" in keys


@pytest.mark.parametrize("name", ["a/b", "a,b", "a...b", "A", "-a", "", "a b", "é"])
def test_a_preset_file_that_cannot_be_a_partition_is_refused(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(partitions, "preset_names", lambda group: [name])
    with pytest.raises(Exception, match=WORKLOAD_ID_PATTERN.replace("\\", "").replace("[", r"\[").replace("^", r"\^")
                       .replace("*", r"\*").replace("$", r"\$")):
        partitions.workload_partition_keys()

"""Where assets run, as the executors read it: the Kubernetes job is built offline from the tags."""

import json
import os
import subprocess
import sys
from typing import Any

import dagster as dg
import pytest
from dagster_k8s import DagsterK8sJobConfig, construct_dagster_k8s_job
from dagster_k8s.job import get_user_defined_k8s_config

from gpu_timing_assets.config.experiment import compose, preset_names, target_hardware
from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets.core.errors import PresetError
from gpu_timing_assets.dagster_app.placement import CPU_OP_TAGS, measuring_op_tags
from gpu_timing_assets.definitions import defs

MEASURING_ASSETS = ["real_run", "profiling_bundle"]
OTHER_ASSETS = [
    "workload_spec",
    "sim_run",
    "sim_run_at_host_speed",
    "comparison",
    "fidelity_matrix",
]
PLACEMENT = """
import json, dagster as dg
from gpu_timing_assets.definitions import defs
graph = defs.resolve_asset_graph()
print(json.dumps({
    key.path[-1]: [*graph.get(key).pools, defs.resolve_assets_def(key).op.tags]
    for key in graph.get_all_asset_keys()
}))
"""


def placement(target: str) -> dict[str, list[Any]]:
    """Pool and tags of each asset of a code location that measures `target`."""
    done = subprocess.run(
        [sys.executable, "-c", PLACEMENT],
        cwd=PROJECT_ROOT,
        env={**os.environ, "GPU_TIMING_TARGET": target},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def kubernetes_job(tags: Any) -> dict[str, Any]:
    return construct_dagster_k8s_job(
        DagsterK8sJobConfig(job_image="gpu-timing-assets:latest", dagster_home="/opt/dagster"),
        args=["dagster", "api"],
        job_name="step",
        user_defined_k8s_config=get_user_defined_k8s_config(
            {key: value if isinstance(value, str) else json.dumps(value) for key, value in tags}
        ),
    ).to_dict()["spec"]


@pytest.mark.parametrize(
    ("target", "pool"),
    [
        ("", "cpu"),
        ("hardware=a100 model=qwen3-0.6b", "a100"),
        ("hardware=h100 hardware.pool=lab-2", "lab-2"),
    ],
)
def test_what_measures_goes_to_the_pool_and_queue_of_the_targets_hardware(target: str, pool: str):
    found = placement(target)
    for asset in MEASURING_ASSETS:
        its_pool, tags = found[asset]
        assert its_pool == tags["dagster-celery/queue"] == pool
    for asset in OTHER_ASSETS:
        [tags] = found[asset]  # no pool
        assert tags["dagster-celery/queue"] == "dagster"


def test_the_kubernetes_job_of_an_a100_asks_for_one_and_for_shared_memory():
    tags = placement("hardware=a100 model=qwen3-0.6b")["real_run"][1]
    job = kubernetes_job(tags.items())
    pod = job["template"]["spec"]
    container = pod["containers"][0]
    assert container["resources"]["limits"] == {"memory": "64Gi", "nvidia.com/gpu": "1"}
    assert pod["node_selector"] == {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}
    assert pod["tolerations"][0]["key"] == "nvidia.com/gpu"
    volume = next(volume for volume in pod["volumes"] if volume["name"] == "dshm")
    assert volume["empty_dir"]["medium"] == "Memory"
    mounts = {mount["name"]: mount["mount_path"] for mount in container["volume_mounts"]}
    assert mounts["dshm"] == "/dev/shm"
    assert job["backoff_limit"] == 0


@pytest.mark.parametrize("hardware", ["a100", "h100", "h200"])
def test_ray_gives_a_gpu_of_the_targets_kind(hardware: str):
    tags = measuring_op_tags(compose([f"hardware={hardware}"]).hardware)
    ray = tags["dagster-ray/config"]
    assert ray["num_gpus"] == 1
    assert ray["resources"] == {f"accelerator_type:{hardware.upper()}": 0.001}


@pytest.mark.parametrize(
    "tags", [CPU_OP_TAGS, measuring_op_tags(compose(["hardware=cpu"]).hardware)]
)
def test_what_needs_no_gpu_asks_for_none(tags: dict[str, Any]):
    assert "nvidia.com" not in str(kubernetes_job(tags.items()))
    assert not tags["dagster-ray/config"].get("num_gpus")


@pytest.mark.parametrize("name", preset_names("hardware"))
def test_the_hardware_is_the_one_that_hydra_composes(name: str):
    overrides = [f"hardware={name}", "hardware.repeats=7", "++hardware.pool=lab"]
    assert target_hardware(overrides) == compose(overrides).hardware
    assert target_hardware([]) == compose().hardware


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("hardware=h1000", "did you mean h100"),
        ("hardware.repeats=0", "repeats: Input should be greater than or equal to 1"),
    ],
)
def test_a_target_that_is_wrong_is_refused_when_the_definitions_load(override: str, says: str):
    with pytest.raises(PresetError, match=says):
        target_hardware([override])


def test_every_asset_says_where_it_runs():
    assert {spec.key for spec in defs.resolve_all_asset_specs()} == {
        dg.AssetKey(name) for name in MEASURING_ASSETS + OTHER_ASSETS
    }

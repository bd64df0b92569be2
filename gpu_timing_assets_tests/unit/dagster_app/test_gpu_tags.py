"""The tags of GPU assets, as the executors read them: the Kubernetes job is built offline from
them.
"""

import dagster as dg
import pytest
from dagster_k8s import DagsterK8sJobConfig, construct_dagster_k8s_job
from dagster_k8s.job import get_user_defined_k8s_config

from gpu_timing_assets.definitions import defs

GPU_ASSETS = ["real_run", "profiling_bundle"]
CPU_ASSETS = ["workload_spec", "sim_run", "comparison", "fidelity_matrix"]


def tags(asset: str) -> dict[str, str]:
    return dict(defs.resolve_assets_def(asset).op.tags)


@pytest.mark.parametrize(
    ("asset", "queue"),
    [*((asset, "a100") for asset in GPU_ASSETS), *((asset, "dagster") for asset in CPU_ASSETS)],
)
def test_celery_queue(asset: str, queue: str):
    assert tags(asset)["dagster-celery/queue"] == queue


@pytest.mark.parametrize("asset", GPU_ASSETS)
def test_the_kubernetes_job_asks_for_one_a100_and_shared_memory(asset: str):
    job = construct_dagster_k8s_job(
        DagsterK8sJobConfig(job_image="gpu-timing-assets:latest", dagster_home="/opt/dagster"),
        args=["dagster", "api"],
        job_name="step",
        user_defined_k8s_config=get_user_defined_k8s_config(tags(asset)),
    ).to_dict()
    pod = job["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["node_selector"] == {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}
    assert pod["tolerations"][0]["key"] == "nvidia.com/gpu"
    volume = next(volume for volume in pod["volumes"] if volume["name"] == "dshm")
    assert volume["empty_dir"]["medium"] == "Memory"
    assert (
        next(mount for mount in container["volume_mounts"] if mount["name"] == "dshm")["mount_path"]
        == "/dev/shm"
    )
    assert job["spec"]["backoff_limit"] == 0


@pytest.mark.parametrize("asset", CPU_ASSETS)
def test_other_assets_ask_for_no_gpu(asset: str):
    job = construct_dagster_k8s_job(
        DagsterK8sJobConfig(job_image="gpu-timing-assets:latest", dagster_home="/opt/dagster"),
        args=["dagster", "api"],
        job_name="step",
        user_defined_k8s_config=get_user_defined_k8s_config(tags(asset)),
    ).to_dict()
    assert "nvidia.com/gpu" not in str(
        job["spec"]["template"]["spec"]["containers"][0]["resources"]
    )


def test_every_asset_says_where_it_runs():
    assert {spec.key for spec in defs.resolve_all_asset_specs()} == {
        dg.AssetKey(name) for name in GPU_ASSETS + CPU_ASSETS
    }

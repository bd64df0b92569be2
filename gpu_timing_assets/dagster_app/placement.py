"""Where an asset runs: its pool, and the tags that the Celery, Kubernetes and Ray executors read.
The multiprocess executor ignores them.

What measures is placed by the preset of the hardware that this code location measures by default
(`GPU_TIMING_TARGET`); the rest runs on any machine.
"""

from collections.abc import Mapping
from typing import Any

from gpu_timing_assets.config.experiment import target_hardware
from gpu_timing_assets.config.hardware import HardwarePreset
from gpu_timing_assets.config.settings import load_settings

CPU_QUEUE = "dagster"

CPU_OP_TAGS: Mapping[str, Any] = {
    "dagster-celery/queue": CPU_QUEUE,
    "dagster-k8s/config": {
        "container_config": {
            "resources": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "8Gi"}}
        }
    },
    "dagster-ray/config": {"num_cpus": 1},
}


def measuring_op_tags(hardware: HardwarePreset) -> dict[str, Any]:
    """The tags of an asset that starts an engine on this hardware."""
    gpus = 0 if hardware.device == "cpu" else 1
    gpu_limit = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    gpu_toleration = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    accelerator = hardware.ray_accelerator_type
    return {
        "dagster-celery/queue": hardware.pool_name,
        "dagster-k8s/config": {
            "container_config": {
                "resources": {
                    "requests": {"cpu": "4", "memory": "32Gi", **gpu_limit},
                    "limits": {"memory": "64Gi", **gpu_limit},
                },
                "volume_mounts": [{"name": "dshm", "mountPath": "/dev/shm"}],
            },
            "pod_spec_config": {
                "node_selector": hardware.kubernetes_node_selector,
                "tolerations": [gpu_toleration] if gpus else [],
                # vLLM's processes share tensors through /dev/shm, of which a container gets 64 MB
                "volumes": [{"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}}],
                "termination_grace_period_seconds": 15,
            },
            "job_spec_config": {"backoff_limit": 0},
        },
        "dagster-ray/config": {
            "num_cpus": 4,
            "num_gpus": gpus,
            "resources": {f"accelerator_type:{accelerator}": 0.001} if accelerator else {},
        },
    }


HARDWARE = target_hardware(load_settings().target)
MEASURING_POOL = HARDWARE.pool_name
MEASURING_OP_TAGS = measuring_op_tags(HARDWARE)

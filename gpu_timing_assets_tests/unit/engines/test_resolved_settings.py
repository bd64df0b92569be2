"""Every setting of an engine is recorded: flat, as JSON, no secrets, the same at each start."""

import dataclasses
import enum
import json
import subprocess
import sys
from pathlib import Path

import pytest

from gpu_timing_assets.config.experiment import compose
from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets.engines.settings import environment, flat_settings
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import engine_params

# in a process of its own: vLLM sets variables and loads a native library for good
RESOLVE = """
import json
from vllm.engine.arg_utils import AsyncEngineArgs
from gpu_timing_assets.config.experiment import compose
from gpu_timing_assets.engines.vllm.engine import engine_arguments
from gpu_timing_assets.engines.vllm.resolved import resolved_settings, vllm_environment

config = compose(["hardware=cpu", "backend.max_num_seqs=7"])
arguments = engine_arguments(config.model, config.hardware, config.backend)
starts = [resolved_settings(AsyncEngineArgs(**arguments).create_engine_config()) for _ in range(2)]
print(json.dumps({"starts": starts, "environment": vllm_environment()}, allow_nan=False))
"""


class Mode(enum.Enum):
    FAST = 1


@dataclasses.dataclass
class Inner:
    sizes: tuple[int, ...] = (1, 2)
    mode: Mode = Mode.FAST
    _cached: int = 3


@dataclasses.dataclass
class Outer:
    inner: Inner
    model: str
    api_key: str
    names: set[str]
    parts: dict[str, object]
    thing: object


@pytest.fixture
def outer() -> Outer:
    parts = {"far": float("inf"), "none": None}
    return Outer(Inner(), "/tmp/x1/qwen3", "hush", {"b", "a"}, parts, object())


def test_parts_are_behind_dots_and_what_is_no_plain_value_is_its_types_name(outer) -> None:
    assert flat_settings(outer) == {
        "api_key": "set",
        "inner.mode": "FAST",
        "inner.sizes": [1, 2],
        "model": "…/qwen3",
        "names": ["a", "b"],
        "parts.far": "inf",
        "parts.none": None,
        "thing": "object",
    }


def test_secrets_are_not_recorded_and_numbers_of_tokens_are(monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("NCCL_SECRET", "hush")
    known = {"A_PASSWORD": "hush", "AN_API_KEY": None, "MAX_TOKENS": 8, "FLAG": False}
    found = environment(known)
    assert {name: found[name] for name in (*known, "OMP_NUM_THREADS", "NCCL_SECRET")} == {
        "A_PASSWORD": "set",
        "AN_API_KEY": None,
        "MAX_TOKENS": "8",
        "FLAG": "False",
        "OMP_NUM_THREADS": "3",
        "NCCL_SECRET": "set",
    }


@pytest.fixture(scope="module")
def resolved() -> dict:
    pytest.importorskip("vllm", reason="no vLLM is installed")
    done = subprocess.run(
        [sys.executable, "-c", RESOLVE],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_whole_of_vllms_configuration_is_recorded(resolved) -> None:
    settings = resolved["starts"][0]
    assert len(settings) > 200
    assert settings["scheduler_config.max_num_seqs"] == 7
    assert settings["cache_config.enable_prefix_caching"] is False
    assert settings["model_config.model"] == "…/qwen3-tiny"
    assert settings["model_config.dtype"].startswith("torch.")
    assert "use_v2_model_runner" in settings


def test_the_variables_that_vllm_reads_are_recorded(resolved) -> None:
    variables = resolved["environment"]
    assert "VLLM_USE_V2_MODEL_RUNNER" in variables
    assert all(value is None or isinstance(value, str) for value in variables.values())
    assert not [
        value for value in variables.values() if value and value.startswith(str(Path.home()))
    ]


def test_two_starts_of_one_configuration_have_the_same_settings(resolved) -> None:
    first, second = resolved["starts"]
    assert first == second


class TestRepeats:
    """Which starts of an engine count as repeats of each other."""

    def params(self, **changes):
        return engine_params(
            compose(),
            resolved={"scheduler_config.policy": "fcfs", "parallel_config.master_port": 1},
            environment={"VLLM_USE_V2_MODEL_RUNNER": "False", "VLLM_CACHE_ROOT": "…/vllm"},
        ).model_copy(update=changes)

    def test_ports_paths_and_the_number_of_blocks_are_no_settings(self) -> None:
        other = self.params(
            num_kv_blocks=258,
            resolved={
                "scheduler_config.policy": "fcfs",
                "parallel_config.master_port": 2,
                "cache_config.num_gpu_blocks": 258,
            },
            environment={"VLLM_USE_V2_MODEL_RUNNER": "False", "VLLM_CACHE_ROOT": "…/other"},
        )
        assert self.params().has_settings_of(other)

    @pytest.mark.parametrize(
        "changes",
        [
            {"max_num_seqs": 3},
            {"resolved": {"scheduler_config.policy": "priority"}},
            {"environment": {"VLLM_USE_V2_MODEL_RUNNER": "True"}},
        ],
    )
    def test_another_setting_is_another_configuration(self, changes) -> None:
        assert not self.params().has_settings_of(self.params(**changes))

    def test_what_older_data_did_not_record_is_no_difference(self) -> None:
        assert self.params().has_settings_of(self.params(resolved={}, environment={}))

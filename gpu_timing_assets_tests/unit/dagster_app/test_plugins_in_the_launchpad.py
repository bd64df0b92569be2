"""An engine and a simulator of another package, without a preset file: the launchpad and the
commands offer them by name, with the fields of their own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpu_timing_assets.core.data_root import PROJECT_ROOT

MODULE = '''
from dataclasses import dataclass
from typing import Literal

from gpu_timing_assets.config.backend import BackendPreset
from gpu_timing_assets.config.simulator import SimulatorPreset


class ConstantRate(SimulatorPreset):
    """Every token after a fixed time."""

    name: Literal["constant_rate"] = "constant_rate"
    """Name of the simulator."""

    token_interval_ms: float = 1.0
    """Milliseconds from one token to the next."""


class Echo(BackendPreset):
    """Answers with the prompt."""

    name: Literal["echo"] = "echo"
    """Name of the engine."""

    voice: str = "low"
    """Voice in which it answers."""


@dataclass(frozen=True)
class Plugin:
    name: str
    preset: type


SIMULATOR = Plugin("constant_rate", ConstantRate)
ENGINE = Plugin("echo", Echo)
'''
ENTRY_POINTS = """\
[gpu_timing_assets.simulators]
constant_rate = outside:SIMULATOR
[gpu_timing_assets.engines]
echo = outside:ENGINE
"""
RUN_CONFIG = {
    "resources": {
        "target": {"config": {"backend": "echo", "overrides": {"backend": {"voice": "high"}}}}
    },
    "ops": {
        "sim_run": {"config": {"preset": "constant_rate", "overrides": {"token_interval_ms": 3.0}}}
    },
}
LAUNCHPAD = f"""
import json, dagster as dg
from gpu_timing_assets.dagster_app.launchpad import SIM_RUN_SCHEMA, TARGET_SCHEMA
from gpu_timing_assets.dagster_app.target import Choice, TargetResource
from gpu_timing_assets.definitions import defs
config = dg.validate_run_config(defs.resolve_job_def("whole_graph"), {RUN_CONFIG})
target = TargetResource(Choice.of_target(config["resources"]["target"]["config"]))
of_asset = Choice(
    {{"simulator": config["ops"]["sim_run"]["config"]["preset"]}},
    {{"simulator": config["ops"]["sim_run"]["config"]["overrides"]}},
)
experiment = target.experiment("smoke", of_asset)
print(json.dumps({{
    "help": [SIM_RUN_SCHEMA["preset"].description, TARGET_SCHEMA["backend"].description],
    "field": SIM_RUN_SCHEMA["overrides"].config_type.fields["token_interval_ms"].description,
    "run": experiment.sim_run_id,
    "simulator": experiment.simulator.model_dump(),
    "voice": experiment.backend.voice,
}}))
"""


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which another package is installed."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "outside.py").write_text(MODULE)
    information = folder / "outside-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


def output(outside: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=PROJECT_ROOT,
        env={**os.environ, "PYTHONPATH": f"{PROJECT_ROOT}{os.pathsep}{outside}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_launchpad_takes_them_with_fields_of_their_own(outside: Path):
    found: dict[str, Any] = json.loads(output(outside, "-c", LAUNCHPAD))
    assert found["simulator"] == {"name": "constant_rate", "token_interval_ms": 3.0}
    assert found["voice"] == "high"
    assert found["run"] == "smoke--qwen3-tiny--cpu--echo--constant-rate"


def test_the_launchpads_help_tells_who_is_registered_and_whose_a_field_is(outside: Path):
    found: dict[str, Any] = json.loads(output(outside, "-c", LAUNCHPAD))
    simulators, engines = found["help"]
    assert "Registered: vidur (Vidur with" in simulators
    assert simulators.endswith("; constant_rate (Every token after a fixed time).")
    assert engines.endswith("; echo (Answers with the prompt).")
    assert found["field"] == "Milliseconds from one token to the next. (of constant_rate)"


def test_the_commands_help_lists_them(outside: Path):
    text = output(outside, "-m", "gpu_timing_assets.cli", "vidur-sim", "--help")
    assert "constant_rate" in text
    assert "echo" in text

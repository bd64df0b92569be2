"""A simulator that somebody else installs: a package outside the tree, known by its entry point.

Nothing in this project names it. It runs in processes of its own, as an installed one would.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets.core.run import SimRunMeta, read_complete_run
from gpu_timing_assets.core.tables.schemas import REQUEST_METRICS, TOKEN_METRICS, TRACE_LENGTHS
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import write_workload

PLUGIN = '''
from typing import Literal

import numpy as np

from gpu_timing_assets.config.dtype import resolved_dtype
from gpu_timing_assets.config.model_card import read_model_dimensions
from gpu_timing_assets.config.simulator import SimulatorPreset
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.tables.run_tables import run_tables_from_token_times
from gpu_timing_assets.simulators.base import SimulatedRun, Simulator


class ConstantRatePreset(SimulatorPreset):
    """Every token a fixed time after the one before."""

    name: Literal["NAME"] = "NAME"
    """Name of the simulator."""

    token_interval_ms: float = 5.0
    """Time of a token in ms."""


def simulate(work, config, bundle, real_run_dir):
    assert bundle is None and real_run_dir is None
    counts = work.lengths["num_decode_tokens"].to_numpy()
    request = np.repeat(np.arange(len(counts)), counts)
    index = np.arange(len(request)) - np.repeat(np.cumsum(counts) - counts, counts)
    interval_ns = round(config.simulator.token_interval_ms * 1e6)
    token_ns = work.arrival_time_ns[request] + (index + 1) * interval_ns
    requests, tokens = run_tables_from_token_times(
        work.lengths, work.arrival_time_ns, request, token_ns
    )
    dimensions = read_model_dimensions(config.model)
    params = EngineParams(
        engine=config.backend.name,
        engine_version="any",
        device_name="any",
        model_dimensions=dimensions,
        dtype=resolved_dtype(config.model, config.hardware),
        max_model_len=config.backend.max_model_len or dimensions.max_position_embeddings,
        max_num_seqs=config.backend.max_num_seqs,
        max_num_batched_tokens=config.backend.max_num_batched_tokens,
        enable_chunked_prefill=True,
        async_scheduling=False,
        enable_prefix_caching=False,
        num_kv_blocks=0,
        kv_block_size=16,
        attention_backend="any",
        graph_mode="NONE",
    )
    BREAK
    return SimulatedRun(requests, TOKENS, params)


SIMULATOR = Simulator(
    "NAME", ConstantRatePreset, simulate, gives=GIVES, reads_bundle=False,
    simulated_settings=("model_dimensions",),
)
'''
TARGET = ("model=qwen3-tiny", "hardware=h100", "backend=vllm", "workload=smoke")


def install(site: Path, name: str, *, tokens: bool = True, fault: str = "pass") -> None:
    """A distribution as pip leaves it: a module, and its metadata with an entry point."""
    source = PLUGIN.replace("NAME", name).replace("BREAK", fault)
    source = source.replace("TOKENS", "tokens" if tokens else "None")
    source = source.replace("GIVES", '("token_times",)' if tokens else "()")
    (site / f"{name}.py").write_text(source)
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[gpu_timing_assets.simulators]\n{name} = {name}:SIMULATOR\n"
    )


@pytest.fixture
def site(tmp_path: Path) -> Path:
    directory = tmp_path / "site-packages"
    directory.mkdir()
    return directory


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_workload(tmp_path / "data" / "workloads" / "smoke", [8, 20], [3, 5], [0, 4])
    return tmp_path / "data"


def python(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), str(PROJECT_ROOT)])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, check=False
    )


def vidur_sim(site: Path, data: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = ("-m", "gpu_timing_assets.cli", "vidur-sim", *TARGET, f"data_root={data}")
    return python(site, *command, *words)


def test_its_name_alone_simulates_a_workload_and_files_a_run(site, data) -> None:
    install(site, "constant_rate")
    ended = vidur_sim(site, data, "simulator=constant_rate")
    assert ended.returncode == 0, ended.stderr
    out = data / "vidur_runs" / "smoke--qwen3-tiny--h100--vllm--constant-rate"
    meta = read_complete_run(out, SimRunMeta)
    assert (meta.simulator, meta.label, meta.gives) == (
        "constant_rate",
        "constant_rate",
        ("token_times",),
    )
    assert (meta.predictor, meta.substitution, meta.profiling_root) == (None, None, None)
    assert meta.simulated_settings == ("model_dimensions",)
    assert TOKEN_METRICS.read(out)["token_latency_ns"].dropna().unique().tolist() == [5_000_000]
    assert (
        meta.num_tokens
        == TRACE_LENGTHS.read(data / "workloads" / "smoke")["num_decode_tokens"].sum()
    )
    assert "constant_rate" in (out / "summary.md").read_text()


def test_its_preset_brings_a_field_of_its_own(site, data) -> None:
    install(site, "constant_rate")
    words = ("simulator=constant_rate", "simulator.token_interval_ms=7")
    ended = vidur_sim(site, data, *words)
    assert ended.returncode == 0, ended.stderr
    (out,) = (data / "vidur_runs").glob("smoke--*")
    assert TOKEN_METRICS.read(out)["token_latency_ns"].dropna().unique().tolist() == [7_000_000]
    config = json.loads((out / "config.json").read_text())
    assert config["simulator"] == {"name": "constant_rate", "token_interval_ms": 7.0}


def test_one_that_gives_no_token_times_files_none(site, data) -> None:
    install(site, "ends_only", tokens=False)
    ended = vidur_sim(site, data, "simulator=ends_only")
    assert ended.returncode == 0, ended.stderr
    (out,) = (data / "vidur_runs").glob("smoke--*")
    assert read_complete_run(out, SimRunMeta).gives == ()
    assert not TOKEN_METRICS.is_in(out)
    assert REQUEST_METRICS.read(out)["num_decode_tokens_actual"].tolist() == [3, 5]
    assert "ITL" not in (out / "summary.md").read_text()


def test_the_launchpad_and_the_help_list_it(site) -> None:
    install(site, "constant_rate")
    ask = (
        "from gpu_timing_assets.config.experiment import preset_names; "
        "print(*preset_names('simulator'))"
    )
    assert "constant_rate" in python(site, "-c", ask).stdout.split()
    ended = python(site, "-m", "gpu_timing_assets.cli", "vidur-sim", "--help")
    (simulators,) = (line for line in ended.stdout.splitlines() if line.startswith("  simulator "))
    assert "constant_rate" in simulators
    assert "engine_loop" in simulators


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("requests = requests.iloc[:1]", "gave 1 requests of the workload's 2"),
        ("requests['arrival_time_ns'] += 1", "arrival_time_ns of row 0 is 1, the workload's is 0"),
        ("tokens.loc[1, 'token_time_ns'] = 0", "request 0: token_time_ns decreases"),
        ("requests['num_decode_tokens_actual'] += 1", "has more tokens than asked"),
        ("requests['completion_time_ns'] -= 1", "completion_time_ns is before its last token"),
        ("requests['ttft_ns'] -= 2**40", "ttft_ns is below 0"),
        ("requests['completion_time_ns'] += 2**60", "another unit, or an overflow"),
        ("tokens['token_time_ns'] = tokens['token_time_ns'] * 1.5", "not in whole numbers"),
        ("del requests['status']", "column 'status' is missing"),
        ("tokens = None", "gives ('token_times',), and does otherwise"),
    ],
)
def test_what_breaks_the_ports_rules_is_refused_and_not_filed(site, data, fault, message) -> None:
    install(site, "careless", fault=fault)
    ended = vidur_sim(site, data, "simulator=careless")
    assert ended.returncode == 9
    assert "simulator careless" in ended.stderr
    assert message in ended.stderr
    assert not list((data / "vidur_runs").glob("[!.]*"))


@pytest.mark.parametrize("settings", ["()", '("max_num_sequences",)'])
def test_one_that_takes_account_of_no_setting_of_an_engine_is_refused(site, data, settings) -> None:
    install(site, "careless")
    module = site / "careless.py"
    module.write_text(module.read_text().replace('("model_dimensions",)', settings))
    ended = vidur_sim(site, data, "simulator=careless")
    assert ended.returncode == 9
    assert "simulator careless names simulated_settings that are none" in ended.stderr

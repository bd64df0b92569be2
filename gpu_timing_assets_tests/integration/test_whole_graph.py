"""The whole graph on the real CPU engine, from the command that the README names, and what a person
gets out of it.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from gpu_timing_assets.config.experiment import load_snapshot
from gpu_timing_assets.core.bundle import BUNDLE_META_FILE
from gpu_timing_assets.core.data_root import PROJECT_ROOT, DataRoot
from gpu_timing_assets.core.files import CONFIG_FILE
from gpu_timing_assets.core.run import ComparisonMeta, RealRunMeta, SimRunMeta, read_complete_run
from gpu_timing_assets.core.tables.invariants import read_run_tables, read_workload_tables
from gpu_timing_assets.core.tables.schemas import ENGINE_BATCHES, ENGINE_STEPS
from gpu_timing_assets.core.workload import read_complete_workload

pytestmark = pytest.mark.engine
WORKLOAD = "chat_poisson"
DAGSTER = str(Path(sys.executable).with_name("dagster"))


@dataclass(frozen=True)
class Lab:
    """A data root that the whole graph was run in, and the instance that has its history."""

    data: DataRoot
    instance: dg.DagsterInstance
    environment: dict[str, str]
    output: str

    def only(self, folder: str) -> Path:
        found = sorted(path for path in (self.data.path / folder).glob("[!.]*") if path.is_dir())
        assert found, folder
        return found[0]

    def metadata(self, asset: str) -> dict[str, object]:
        event = self.instance.get_latest_materialization_event(dg.AssetKey(asset))
        assert event is not None
        assert event.asset_materialization is not None
        return {label: value.value for label, value in event.asset_materialization.metadata.items()}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("graph")
    home, data = folder / "home", folder / "data"
    for path in (home, folder / "tmp"):
        path.mkdir()
    settings = (PROJECT_ROOT / "dagster.yaml").read_text()
    (home / "dagster.yaml").write_text(settings.replace("data/.dagster", str(folder / "storage")))
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "GPU_TIMING_DATA_ROOT": str(data),
        "TMPDIR": str(folder / "tmp"),
        "XDG_RUNTIME_DIR": str(folder / "tmp"),
        "PYTHONWARNINGS": "ignore",
        # the tests share their cores: how late a submission may be is judged elsewhere
        "GPU_TIMING_TARGET": "hardware=cpu hardware.max_lateness_p99_ms=5000",
    }
    done = subprocess.run(
        [
            DAGSTER,
            "asset",
            "materialize",
            "-m",
            "gpu_timing_assets.definitions",
            "--select",
            "*",
            "--partition",
            WORKLOAD,
        ],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    return Lab(DataRoot(data), dg.DagsterInstance.from_config(str(home)), environment, done.stderr)


def test_every_stage_left_a_whole_directory_with_its_configuration(lab: Lab):
    workload = read_complete_workload(lab.data.workload_dir(WORKLOAD))
    for folder, kind in (
        ("real_runs", RealRunMeta),
        ("vidur_runs", SimRunMeta),
        ("comparisons", ComparisonMeta),
    ):
        meta = read_complete_run(lab.only(folder), kind)
        assert meta.workload_sha256 == workload.workload_sha256
        assert load_snapshot(lab.only(folder)).workload.workload_id == WORKLOAD
    bundle = lab.data.profiling_root("cpu", "qwen3-tiny")
    assert (bundle / BUNDLE_META_FILE).is_file()
    assert (bundle / CONFIG_FILE).is_file()


def test_both_sides_have_exact_times_of_the_same_tokens(lab: Lab):
    lengths, intervals = read_workload_tables(lab.data.workload_dir(WORKLOAD))
    for folder in ("real_runs", "vidur_runs"):
        requests, tokens = read_run_tables(lab.only(folder))
        assert requests["request_id"].tolist() == lengths["request_id"].tolist()
        assert (
            requests["num_decode_tokens_actual"].tolist() == lengths["num_decode_tokens"].tolist()
        )
        assert requests["arrival_time_ns"].tolist() == intervals["arrival_time_ns"].tolist()
        assert len(tokens) == lengths["num_decode_tokens"].sum()
        # interpolated tokens would be evenly spaced: real and simulated steps are not
        gaps = (
            tokens.dropna(subset=["token_latency_ns"])
            .groupby("request_id")["token_latency_ns"]
            .nunique()
        )
        assert (gaps > 1).mean() > 0.9
        for table in (ENGINE_STEPS, ENGINE_BATCHES):
            assert not table.read(lab.only(folder)).empty


def test_a_sim_and_its_real_run_served_the_same_settings(lab: Lab):
    real = read_complete_run(lab.only("real_runs"), RealRunMeta).params
    simulated = read_complete_run(lab.only("vidur_runs"), SimRunMeta).params
    for setting in (
        "max_num_seqs",
        "max_num_batched_tokens",
        "num_kv_blocks",
        "kv_block_size",
        "max_model_len",
    ):
        assert getattr(real, setting) == getattr(simulated, setting), setting


def test_the_report_opens_without_a_network(lab: Lab):
    report = (lab.only("comparisons") / "report.html").read_text()
    assert len(report) > 10_000
    assert 'src="http' not in report
    assert 'href="http' not in report.replace('href="https://github.com', "")


def test_the_page_gets_what_it_shows(lab: Lab):
    assert lab.metadata("comparison")["report"].endswith(
        f"/comparisons/{lab.only('comparisons').name}/report.html"
    )
    assert any(label.startswith("error_pct_ttft") for label in lab.metadata("comparison"))
    assert lab.metadata("sim_run")["times_faster_than_real"] > 0
    assert lab.metadata("profiling_bundle")["covers"]
    assert lab.metadata("fidelity_matrix")["comparisons"] >= 1
    for asset in (
        "workload_spec",
        "real_run",
        "profiling_bundle",
        "sim_run",
        "comparison",
        "fidelity_matrix",
    ):
        assert lab.metadata(asset)["stage_seconds"] > 0


def test_the_comparison_was_checked(lab: Lab):
    checks = lab.instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [
            dg.AssetCheckKey(dg.AssetKey("comparison"), name)
            for name in ("parity", "real_runs_complete", "ttft_error")
        ]
    )
    evaluations = {
        key.name: record.event.dagster_event.asset_check_evaluation_data
        for key, record in checks.items()
        if record.event is not None
    }
    assert evaluations["parity"].passed
    assert evaluations["real_runs_complete"].passed
    assert evaluations["ttft_error"].description


def test_progress_and_stages_are_in_the_log(lab: Lab):
    for stage in (
        "workload-spec",
        "real-bench",
        "vidur-profile",
        "vidur-sim",
        "compare-runs",
        "fidelity-matrix",
    ):
        assert f"stage={stage} " in lab.output
    assert "tokens/s" in lab.output


def command(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gpu_timing_assets.cli", *words],
        cwd=lab.data.path,
        env={**lab.environment, "PYTHONPATH": str(PROJECT_ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_demos_table_is_printed_from_it(lab: Lab):
    done = command(lab, "show-comparison")
    assert done.returncode == 0, done.stderr
    assert "| TTFT" in done.stdout
    assert f"report: {lab.only('comparisons') / 'report.html'}" in done.stdout


def test_a_second_profile_reuses_the_bundle(lab: Lab):
    bundle = lab.data.profiling_root("cpu", "qwen3-tiny") / BUNDLE_META_FILE
    before = bundle.stat().st_mtime_ns
    done = command(lab, "vidur-profile")
    assert done.returncode == 0, done.stderr
    assert bundle.stat().st_mtime_ns == before


def test_a_simulation_runs_again_from_its_snapshot_and_is_the_same(lab: Lab):
    directory = lab.only("vidur_runs")
    before = (directory / "token_metrics.csv").read_bytes()
    done = command(lab, "vidur-sim", "--from-run", str(directory))
    assert done.returncode == 0, done.stderr
    assert (directory / "token_metrics.csv").read_bytes() == before


def test_both_sides_can_be_compared_from_the_command_line(lab: Lab):
    done = command(lab, "compare-runs")
    assert done.returncode == 0, done.stderr
    assert "| TTFT" in done.stdout

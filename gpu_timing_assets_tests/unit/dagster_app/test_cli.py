"""The commands: what they refuse, in one line and with which exit code, and what they
print.
"""

import tomllib
from pathlib import Path

import pytest

from gpu_timing_assets.cli import COMMANDS, main, run_command
from gpu_timing_assets.config.experiment import GROUPS, preset_names
from gpu_timing_assets.core.data_root import PROJECT_ROOT, REFERENCE_DATA
from gpu_timing_assets.core.errors import PresetError, UnfinishedArtifactError
from gpu_timing_assets.core.run import RealRunMeta, SimRunMeta, read_complete_run


@pytest.fixture(autouse=True)
def data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GPU_TIMING_DATA_ROOT", str(tmp_path / "data"))
    monkeypatch.delenv("GPU_TIMING_TARGET", raising=False)
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["workload=chat_poison"], "did you mean chat_poisson"),
        (["workloads=chat_poisson"], "did you mean workload"),
        (["chat_poisson"], "not of the form key=value"),
        (["workload=../../etc"], "not allowed"),
        (["data_root=/tmp", "workload=chat,poisson"], "not allowed"),
        (["hardware.repeatz=3"], "did you mean hardware.repeats"),
        (["workload.workload_id=../escape"], "workload_id"),
    ],
)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_override_is_one_clear_line(
    name: str, words: list[str], says: str, capsys: pytest.CaptureFixture[str], data_root: Path
):
    assert run_command(name, words) == PresetError.exit_code
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert output.err.startswith(f"{name}: ")
    assert says in output.err
    assert not data_root.exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("real-bench", "workload-spec workload=chat_poisson"),
        ("compare-runs", "workload_meta.json"),
        ("show-comparison", "run its stage again"),
    ],
)
def test_a_missing_input_names_what_makes_it(
    name: str, says: str, capsys: pytest.CaptureFixture[str]
):
    assert run_command(name, []) == UnfinishedArtifactError.exit_code
    assert says in capsys.readouterr().err


def test_without_a_real_run_the_comparison_names_the_command(capsys: pytest.CaptureFixture[str]):
    assert run_command("workload-spec", ["workload=smoke"]) == 0
    assert run_command("compare-runs", ["workload=smoke"]) == UnfinishedArtifactError.exit_code
    assert "run real-bench workload=smoke" in capsys.readouterr().err


def test_workload_spec_prints_where_its_result_lies(
    capsys: pytest.CaptureFixture[str], data_root: Path
):
    assert run_command("workload-spec", ["workload=smoke"]) == 0
    assert f"workload: {data_root / 'workloads' / 'smoke'}" in capsys.readouterr().out


def test_from_run_repeats_a_stage_from_its_snapshot(
    capsys: pytest.CaptureFixture[str], data_root: Path
):
    assert run_command("workload-spec", ["workload=smoke", "workload.seed=41"]) == 0
    directory = data_root / "workloads" / "smoke"
    before = (directory / "trace_lengths.csv").read_bytes()
    assert run_command("workload-spec", ["--from-run", str(directory)]) == 0
    assert (directory / "trace_lengths.csv").read_bytes() == before
    assert '"seed": 41' in (directory / "config.json").read_text()


def test_from_run_takes_no_overrides(capsys: pytest.CaptureFixture[str]):
    assert run_command("vidur-sim", ["workload=smoke", "--from-run", "x"]) == PresetError.exit_code
    assert "--from-run" in capsys.readouterr().err


def test_from_run_of_a_directory_without_a_snapshot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert run_command("vidur-sim", ["--from-run", str(tmp_path)]) == 3
    assert "config.json is missing" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_help_lists_the_presets(name: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="0"):
        run_command(name, ["--help"])
    text = capsys.readouterr().out
    for group in GROUPS:
        assert all(preset in text for preset in preset_names(group))


def test_several_workloads_in_one_engine_start(capsys: pytest.CaptureFixture[str], data_root: Path):
    for workload_id in ("smoke", "chat_poisson"):
        assert run_command("workload-spec", [f"workload={workload_id}"]) == 0
    target = ["backend=null_engine", "hardware.repeats=1", "hardware.max_lateness_p99_ms=5000"]
    assert run_command("real-bench", [*target, "--workloads", "smoke,chat_poisson"]) == 0
    names = sorted(path.name for path in (data_root / "real_runs").glob("[!.]*"))
    assert [name.split("--")[0] for name in names] == ["chat_poisson", "smoke"]
    assert len({name.rsplit("--", 1)[-1] for name in names}) == 1


@pytest.mark.parametrize(
    "argv", [["/venv/bin/vidur-sim"], ["…/gpu_timing_assets/cli.py", "vidur-sim"]]
)
def test_a_command_is_the_programs_name_or_its_first_word(
    argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("sys.argv", [*argv, "workload=chat_poison"])
    with pytest.raises(SystemExit, match=str(PresetError.exit_code)):
        main()
    assert capsys.readouterr().err.startswith("vidur-sim: there is no workload preset")


def test_an_unknown_command_is_told_the_known_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("sys.argv", ["cli.py"])
    with pytest.raises(SystemExit, match="2"):
        main()
    usage = capsys.readouterr().err
    assert all(name in usage for name in COMMANDS)


def test_every_installed_script_is_a_command():
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["scripts"]) <= set(COMMANDS)
    assert set(project["scripts"].values()) == {"gpu_timing_assets.cli:main"}


H100 = ["workload=smoke", "hardware=h100", "model=qwen3-4b", "simulator.max_extrapolation=2"]


def test_what_was_not_measured_or_made_here_is_the_shipped_bundle_and_the_presets_workload(
    data_root: Path, capsys: pytest.CaptureFixture[str]
):
    assert run_command("vidur-sim", H100) == 0
    assert f"workload: {data_root / 'workloads' / 'smoke'}" in capsys.readouterr().out
    assert list((data_root / "vidur_runs").glob("smoke--qwen3-4b--h100--*"))
    assert not (data_root / "vidur_profiling").exists()


def test_a_workload_given_by_path_is_simulated_under_its_own_name(data_root: Path, tmp_path: Path):
    assert run_command("workload-spec", [*H100, "workload.workload_id=mine"]) == 0
    elsewhere = (data_root / "workloads" / "mine").rename(tmp_path / "elsewhere")
    assert run_command("vidur-sim", [*H100[1:], "--workload", str(elsewhere)]) == 0
    assert list((data_root / "vidur_runs").glob("mine--qwen3-4b--h100--*"))


def test_a_bundle_given_by_path_comes_before_the_shipped_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert run_command("workload-spec", H100) == 0
    empty = tmp_path / "no_bundle"
    assert run_command("vidur-sim", [*H100, "--bundle", str(empty)]) != 0
    assert f"no profiling bundle in {empty}" in capsys.readouterr().err


@pytest.mark.parametrize("override", ["workload=smoke", "workload.seed=2", "+workload.seed=2"])
def test_a_workload_given_by_path_is_not_named_or_changed_beside_it(
    override: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert run_command("vidur-sim", ["--workload", str(tmp_path), override]) != 0
    assert f"leave '{override}' away" in capsys.readouterr().err


def test_shipped_runs_are_simulated_from_their_directory_and_compared_by_path(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    real = sorted((REFERENCE_DATA / "h100" / "real_runs").glob("papers_8--qwen3-4b--*"))
    assert run_command("vidur-sim", ["--from-run", str(real[0])]) == 0
    (made,) = (data_root / "vidur_runs").glob("papers_8--*")
    measured = read_complete_run(real[0], RealRunMeta).workload_sha256
    assert read_complete_run(made, SimRunMeta).workload_sha256 == measured
    simulated = made.rename(tmp_path / made.name)
    words = ["--real", *map(str, real), "--simulated", str(simulated)]
    assert run_command("compare-runs", words) == 0
    assert "| TTFT" in capsys.readouterr().out
    (report,) = (data_root / "comparisons").glob("papers_8--qwen3-4b--h100--*/report.html")
    assert report.is_file()


def test_one_side_alone_is_no_comparison(capsys: pytest.CaptureFixture[str]):
    real = min((REFERENCE_DATA / "h100" / "real_runs").glob("papers_8--*"))
    assert run_command("compare-runs", ["--real", str(real)]) != 0
    assert "give both" in capsys.readouterr().err


def test_what_was_measured_is_not_chosen_again(capsys: pytest.CaptureFixture[str]):
    real = min((REFERENCE_DATA / "h100" / "real_runs").glob("papers_8--*"))
    words = ["model=qwen3-8b", "--real", str(real), "--simulated", str(real)]
    assert run_command("compare-runs", words) != 0
    assert "leave 'model=qwen3-8b' away" in capsys.readouterr().err

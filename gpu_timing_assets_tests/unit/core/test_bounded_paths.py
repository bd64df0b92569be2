"""Nothing is written or replaced outside the data root, whatever a file or a link says."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_timing_assets.cli import run_command
from gpu_timing_assets.config.experiment import compose
from gpu_timing_assets.core.bundle import BUNDLE_META_FILE
from gpu_timing_assets.core.data_root import DataRoot
from gpu_timing_assets.core.errors import ArtifactError, PresetError
from gpu_timing_assets.core.files import read_json, write_json
from gpu_timing_assets.core.workload import WORKLOAD_META_FILE, read_workload_meta
from gpu_timing_assets.measure.profiling.parts import parts_dir
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import write_bundle, write_workload

OVERRIDES = ["hardware=h100", "model=qwen3-tiny", "backend=vllm", "simulator=random_forest"]
PLACES: dict[str, Callable[[DataRoot, str], Path]] = {
    "workload_dir": DataRoot.workload_dir,
    "sim_run_dir": DataRoot.sim_run_dir,
    "comparison_dir": DataRoot.comparison_dir,
    "prediction_tables": DataRoot.prediction_tables,
    "profiling_root of the hardware": lambda data, name: data.profiling_root(name, "tiny"),
    "profiling_root of the model": lambda data, name: data.profiling_root("h100", name),
    "real_runs": lambda data, name: data.below("real_runs", run_id=name),
}
KINDS: dict[str, Callable[[DataRoot], Path]] = {
    "workloads": lambda data: data.workload_dir("chat"),
    "real_runs": lambda data: data.real_runs,
    "vidur_runs": lambda data: data.sim_run_dir("chat"),
    "vidur_tables": lambda data: data.prediction_tables("tiny"),
    "vidur_profiling": lambda data: data.profiling_root("h100", "tiny"),
    "comparisons": lambda data: data.comparison_dir("chat"),
    "fidelity_matrix": lambda data: data.fidelity_matrix_dir,
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@settings(deadline=None)
@given(name=st.sampled_from(["..", "../x", "a/../../x", "/etc", ".hidden", "", "x\n", "a\0b"]))
def test_a_name_that_is_more_than_one_directorys_is_refused_everywhere(place, name) -> None:
    with pytest.raises(PresetError, match="is not allowed"):
        place(DataRoot(Path("data")), name)


@settings(deadline=None)
@given(st.text(), st.sampled_from(sorted(PLACES)))
def test_the_place_of_any_name_lies_below_the_data_root_or_there_is_none(name, place) -> None:
    try:
        found = PLACES[place](DataRoot(Path("/data")), name)
    except PresetError:
        return
    assert Path("/data") in found.resolve().parents


@pytest.mark.parametrize(("kind", "place"), KINDS.items(), ids=KINDS)
def test_a_link_that_leads_out_of_the_data_root_is_refused_for_every_kind(
    tmp_path, kind, place
) -> None:
    (tmp_path / "victim").mkdir()
    data = DataRoot(tmp_path / "data")
    data.path.mkdir()
    (data.path / kind).symlink_to(tmp_path / "victim")
    with pytest.raises(ArtifactError, match=f"{kind}.* leads out of the data root, to .*victim"):
        place(data)


def test_a_data_root_that_is_a_link_itself_is_followed(tmp_path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    data = DataRoot(tmp_path / "data")
    assert data.sim_run_dir("chat") == data.path / "vidur_runs" / "chat"


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with a workload and a bundle; beside it a directory that is nobody's business."""
    data = tmp_path / "data"
    monkeypatch.setenv("GPU_TIMING_DATA_ROOT", str(data))
    config = compose([*OVERRIDES, "workload=smoke"])
    write_workload(config.data.workload_dir("smoke"), [8, 20], [3, 5], [0, 4])
    write_bundle(config.profiling_root, config)
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "letter.txt").write_text("mine")
    return data


def test_a_bundle_whose_time_is_a_path_replaces_nothing_elsewhere(prepared, capsys) -> None:
    bundle = compose(OVERRIDES).profiling_root / BUNDLE_META_FILE
    write_json(bundle, {**read_json(bundle), "measured_at": "x/../../../victim"})
    # the old place, spelled out step by step, must exist for the path to lead anywhere
    (prepared / "vidur_tables" / "qwen3-tiny-h100-x").mkdir(parents=True)
    # the name that Vidur's own predictor had
    assert run_command("vidur-sim", [*OVERRIDES[:-1], "simulator=stock", "workload=smoke"]) == 8
    assert "bundle_meta.json: measured_at: " in capsys.readouterr().err
    assert (prepared.parent / "victim" / "letter.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("field", "value"),
    [("bundle_config_sha256", "../../../vict"), ("model", "../m"), ("hardware", "h/..")],
)
def test_a_bundle_whose_identity_is_a_path_is_refused(prepared, capsys, field, value) -> None:
    bundle = compose(OVERRIDES).profiling_root / BUNDLE_META_FILE
    write_json(bundle, {**read_json(bundle), field: value})
    assert run_command("vidur-sim", [*OVERRIDES, "workload=smoke"]) == 8
    assert f"bundle_meta.json: {field}: " in capsys.readouterr().err


def test_a_workload_whose_id_is_a_path_is_refused(prepared) -> None:
    directory = prepared / "workloads" / "smoke"
    written = read_json(directory / WORKLOAD_META_FILE)
    write_json(directory / WORKLOAD_META_FILE, {**written, "workload_id": "../../victim"})
    with pytest.raises(ArtifactError, match="workload_meta.json: workload_id: "):
        read_workload_meta(directory)


def test_an_engines_version_that_is_a_path_is_refused(tmp_path) -> None:
    with pytest.raises(PresetError, match="engine version '../../x' is not allowed"):
        parts_dir(tmp_path / "bundle", "0" * 64, "../../x")
    assert parts_dir(tmp_path / "bundle", "0" * 64, "0.26.0+cu129").parent == tmp_path


def test_a_snapshot_whose_names_are_paths_runs_nothing(prepared, tmp_path, capsys) -> None:
    shutil.copytree(prepared / "workloads" / "smoke", tmp_path / "given")
    config = compose([*OVERRIDES, "workload=smoke"]).model_dump(mode="json")
    config["model"]["name"] = "../../victim"
    write_json(tmp_path / "given" / "config.json", config)
    assert run_command("vidur-sim", ["--from-run", str(tmp_path / "given")]) == 2
    assert "config.json: model.name: " in capsys.readouterr().err

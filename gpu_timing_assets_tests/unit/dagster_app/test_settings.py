"""Settings come from the environment, and a wrong one is refused."""

import pytest

from gpu_timing_assets.config.settings import load_settings
from gpu_timing_assets.core.errors import PresetError


def test_defaults_work(monkeypatch: pytest.MonkeyPatch):
    for name in ("GPU_TIMING_TARGET", "GPU_TIMING_EXECUTOR", "GPU_TIMING_REPORTS_PORT"):
        monkeypatch.delenv(name, raising=False)
    settings = load_settings()
    assert settings.executor == "multiprocess"
    assert settings.reports_url == "http://127.0.0.1:3001"


def test_target_is_split_like_a_command_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GPU_TIMING_TARGET", "hardware=h100 'backend.python=/opt/my env/python'")
    assert load_settings().target == ("hardware=h100", "backend.python=/opt/my env/python")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EXECUTOR", "slurm"),
        ("REPORTS_PORT", "80"),
        ("DAGSTER_PORT", "eighty"),
        ("COMPARISON_MAX_AGE_DAYS", "soon"),
        ("TARGET", "backend.python='/opt/my env/python"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(f"GPU_TIMING_{name}", value)
    with pytest.raises(PresetError, match=f"GPU_TIMING_{name}="):
        load_settings()


def test_an_interpreter_is_listed_by_its_variable_or_by_the_target(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GPU_TIMING_INTERPRETERS", "/opt/a/python:/opt/b/python")
    monkeypatch.setenv("GPU_TIMING_TARGET", "backend.python=/opt/c/python")
    listed = {f"/opt/{name}/python" for name in "abc"}
    assert load_settings().listed_interpreters == listed

"""Plug-ins are found by name: in their room, in this project's entry points and in others'."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import ValidationError

from gpu_timing_assets.config.backend import ENGINES
from gpu_timing_assets.config.base import Preset
from gpu_timing_assets.config.plugins import OneOf, Plugins
from gpu_timing_assets.config.simulator import SIMULATORS
from gpu_timing_assets.core.errors import PresetError

MODULE = """
class Shape:
    def __init__(self, name): self.name = name
PLUGIN = Shape("{name}")
"""


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plugins]:
    """A room of one-module plug-ins, and what other packages register under its group."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(modules: dict[str, str], registered: dict[str, str]) -> Plugins:
        package = tmp_path / f"shapes_{tmp_path.name.replace('-', '_')}"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "without_a_plugin.py").touch()
        for module, name in modules.items():
            (package / f"{module}.py").write_text(MODULE.format(name=name))
        for module, name in registered.items():
            (tmp_path / f"{module}.py").write_text(MODULE.format(name=name))
            info = tmp_path / f"{module}-1.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\n")
            (info / "entry_points.txt").write_text(f"[test.shapes]\n{name} = {module}:PLUGIN\n")
        return Plugins("shape", "test.shapes", lambda plugin: plugin.name, room=package.name)

    return make


def test_each_module_of_a_room_brings_one_and_other_packages_add_to_it(room) -> None:
    shapes = room({"circle": "circle", "square": "square"}, {"outside_tree": "triangle"})
    assert set(shapes.all()) == {"circle", "square", "triangle"}
    assert shapes["triangle"].name == "triangle"


def test_a_name_that_nobody_has_is_refused_with_those_that_there_are(room) -> None:
    with pytest.raises(PresetError, match=r"there is no shape 'cone' \(known: circle\)"):
        room({"circle": "circle"}, {})["cone"]


def test_a_name_that_two_have_is_refused(room) -> None:
    with pytest.raises(PresetError, match="shape 'circle' is registered twice, once by twice"):
        room({"circle": "circle"}, {"twice_registered": "circle"}).all()


def test_one_that_cannot_be_loaded_is_named(room, tmp_path: Path) -> None:
    shapes = room({"circle": "circle"}, {"broken_package": "cone"})
    (tmp_path / "broken_package.py").write_text("import no_such_module_anywhere")
    sys.modules.pop("broken_package", None)
    with pytest.raises(
        PresetError, match="shape broken_package:PLUGIN cannot be loaded: No module"
    ):
        shapes.all()


def test_this_projects_engines_and_simulators_are_found_without_being_installed() -> None:
    assert {"vllm", "transformers", "null_engine"} <= set(ENGINES.all())
    assert "vidur" in SIMULATORS.all()


class Circle(Preset):
    kind: Literal["circle"]
    radius: float


class Square(Preset):
    kind: Literal["square"]
    side: float


class Drawing(Preset):
    shape: Annotated[Preset, OneOf(lambda: {"circle": Circle, "square": Square}, "kind")]


def test_a_field_is_the_preset_that_its_kind_names() -> None:
    drawing = Drawing.model_validate({"shape": {"kind": "square", "side": 2}})
    assert drawing.shape == Square(kind="square", side=2)
    assert drawing.model_dump() == {"shape": {"kind": "square", "side": 2.0}}


def test_what_does_not_validate_is_located_below_the_kind() -> None:
    with pytest.raises(ValidationError) as refused:
        Drawing.model_validate({"shape": {"kind": "square", "radius": 2}})
    assert ("shape", "square", "side") in [error["loc"] for error in refused.value.errors()]
    with pytest.raises(ValidationError, match="expected tags: 'circle', 'square'"):
        Drawing.model_validate({"shape": {"kind": "cone"}})

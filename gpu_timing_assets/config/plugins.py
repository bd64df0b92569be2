"""Plug-ins by name: modules of a room of this project, and what other packages register.

A room (arrival processes, trace formats, metrics …) is a package each of whose modules holds one
plug-in; a package outside the tree adds to it, and to the engines and simulators, by an entry point
of the room's group. Nothing is imported before somebody asks for it.
"""

import pkgutil
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module, metadata
from typing import Any, Generic, TypeVar

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from gpu_timing_assets.config.base import Preset
from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets.core.errors import PresetError

T = TypeVar("T")
DISTRIBUTION = "gpu-timing-assets"


class Plugins(Generic[T]):
    """The plug-ins of one kind.

    `group` is the entry points' group; `room` the dotted name of a package whose modules each hold
    one under `attribute`; `name_of` gives a plug-in's name.
    """

    def __init__(
        self,
        what: str,
        group: str,
        name_of: Callable[[T], str],
        *,
        room: str | None = None,
        attribute: str = "PLUGIN",
    ) -> None:
        self.what, self._group, self._name_of = what, group, name_of
        self._room, self._attribute = room, attribute

    def all(self) -> Mapping[str, T]:
        """By name, this project's first. Raises `PresetError` for one that cannot be loaded."""
        found: dict[str, T] = {}
        for where, load in (*self._of_room(), *self._of_entry_points()):
            try:
                plugin = load()
                name = self._name_of(plugin)
            except Exception as error:
                raise PresetError(f"{self.what} {where} cannot be loaded: {error}") from error
            if name in found and found[name] is not plugin:
                raise PresetError(f"{self.what} {name!r} is registered twice, once by {where}")
            found[name] = plugin
        return found

    def __getitem__(self, name: str) -> T:
        """Raises `PresetError` naming those that there are."""
        plugins = self.all()
        if name not in plugins:
            raise PresetError(f"there is no {self.what} {name!r} (known: {', '.join(plugins)})")
        return plugins[name]

    def _of_room(self) -> Iterator[tuple[str, Callable[[], T]]]:
        if self._room is None:
            return
        for module in pkgutil.iter_modules(import_module(self._room).__path__):
            name = f"{self._room}.{module.name}"
            loaded = import_module(name)
            if hasattr(loaded, self._attribute):
                yield name, lambda loaded=loaded: getattr(loaded, self._attribute)  # type: ignore[misc]

    def _of_entry_points(self) -> Iterator[tuple[str, Callable[[], T]]]:
        for reference in _own_entry_points(self._group):
            yield reference, lambda reference=reference: _load(reference)  # type: ignore[misc]
        for entry_point in _entry_points_on(tuple(sys.path), self._group):
            if entry_point.dist is None or entry_point.dist.name != DISTRIBUTION:
                yield entry_point.value, entry_point.load


@cache
def _own_entry_points(group: str) -> tuple[str, ...]:
    """Of this checkout's `pyproject.toml`, which need not be installed to be used."""
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return tuple(project["project"].get("entry-points", {}).get(group, {}).values())


@cache
def _entry_points_on(path: tuple[str, ...], group: str) -> tuple[metadata.EntryPoint, ...]:
    """Of the packages installed there, read once: all their files are, and each preset asks."""
    return tuple(metadata.entry_points(group=group))


def _load(reference: str) -> Any:
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module), attribute)


class OneOf:
    """Marks a field whose value is one of several presets, told apart by the field `key`.

    `Annotated[ArrivalProcess, OneOf(kinds, "kind")]`; `kinds()` is asked when the first value is
    validated, so that a preset's model can stand above the packages that its parts come from.
    """

    def __init__(self, kinds: Callable[[], Mapping[str, type[Preset]]], key: str) -> None:
        self.kinds, self.key = kinds, key

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        choices = {name: handler.generate_schema(kind) for name, kind in self.kinds().items()}
        return core_schema.tagged_union_schema(choices, discriminator=self.key)


class NameOf:
    """Marks a text that names one of `plugins`: `Annotated[str, NameOf(TRACE_FORMATS)]`."""

    def __init__(self, plugins: Plugins[Any]) -> None:
        self.plugins = plugins

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._known, handler(source))

    def _known(self, name: str) -> str:
        try:
            self.plugins[name]
        except PresetError as error:
            raise ValueError(str(error)) from None
        return name

"""Every setting of an engine as flat JSON: dotted name → scalar or short list."""

import dataclasses
import enum
import math
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

MAX_LIST = 128
SECRET = re.compile("token(?!iz)|key|secret|password", re.IGNORECASE)
# what the libraries below every engine read
COMMON_PREFIXES = ("OMP_", "CUDA_", "NCCL_")


def flat_settings(settings: Any) -> dict[str, Any]:
    """The fields of a dataclass or the keys of a mapping, those of its parts behind a dot, sorted.

    Private fields are left out. For what is no plain value its type's name stands, for a path its
    last part (nothing may differ between two starts that differ in nothing), for a secret `set`.
    """
    return dict(sorted(_flat("", settings)))


def environment(known: Mapping[str, Any] | None = None) -> dict[str, str | None]:
    """The variables of `known`, with the value that the engine takes each for, and those of the
    common libraries that are set. For a secret stands `set`, for a path its last part.
    """
    common = {name: text for name, text in os.environ.items() if name.startswith(COMMON_PREFIXES)}
    found = {**common, **(known or {})}
    plain = {name: _plain(name, found[name]) for name in sorted(found)}
    return {name: None if value is None else str(value) for name, value in plain.items()}


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    parts = _parts(value)
    if not parts:
        yield name, _plain(name, value)
    for key, part in (parts or {}).items():
        if not str(key).startswith("_"):
            yield from _flat(f"{name}.{key}".lstrip("."), part)


def _parts(value: Any) -> Mapping[Any, Any] | None:
    """None for a single value."""
    if isinstance(value, Mapping):
        return value
    # a model's card is described elsewhere
    ours = not type(value).__module__.startswith(("transformers", "torch"))
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and ours:
        return vars(value)
    return None


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.name
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        # JSON has no infinity
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        # a number of tokens is no secret
        return "set" if value and SECRET.search(name) else _last_part(value)
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    if isinstance(value, Mapping):
        return {str(key): _plain(f"{name}.{key}", part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        many = f"{len(value)} elements"
        return [_plain(name, part) for part in value] if len(value) <= MAX_LIST else many
    if isinstance(value, os.PathLike):
        return _last_part(os.fspath(value))
    if isinstance(value, type) or callable(value):
        return getattr(value, "__qualname__", type(value).__name__)
    text = str(value)
    # a type of data and a device have a short text; the default one holds an address in memory
    short = len(text) < 40 and not text.startswith("<") and " at 0x" not in text
    return text if short else type(value).__name__


def _last_part(text: str) -> str:
    return f"…/{os.path.basename(text.rstrip('/'))}" if os.path.isabs(text) else text

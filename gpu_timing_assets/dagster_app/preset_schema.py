"""The presets' models as Dagster's config schema: every field optional, with its type, its bounds
and its help.

The page and the command line judge a run's configuration by this schema before they start it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import dagster as dg
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from gpu_timing_assets.config.base import Preset
from gpu_timing_assets.config.plugins import NameOf, OneOf
from gpu_timing_assets.config.renamed import RENAMED_VALUES, renamed_keys

BOUNDS = {Ge: ("≥", "ge"), Gt: (">", "gt"), Le: ("≤", "le"), Lt: ("<", "lt")}


def override_schema(
    presets: Mapping[str, type[Preset]], group: str = "", *, without: Sequence[str] = ("kind",)
) -> dg.Shape:
    """The fields of all `presets` but those named in `without`, none of them required, and a
    group's older keys.

    A choice between kinds (of arrivals, lengths, sources) is a selector: `arrivals: {poisson:
    {rate_per_s: 4}}`.
    """
    renamed = renamed_keys(group)
    fields = {}
    for name, info in _fields(presets, group).items():
        if name in without:
            continue
        key = f"{group}.{renamed.get(name, name)}"
        enum_name = f"{next(iter(presets.values())).__name__}.{name}"
        fields[name] = dg.Field(
            _config_type(_annotation(info), enum_name, RENAMED_VALUES.get(key, {})),
            is_required=False,
            description=f"Called `{renamed[name]}` now."
            if name in renamed
            else _help(info) + _only_of(presets, name),
        )
    docstring = next(iter(presets.values())).__doc__ or ""
    return dg.Shape(fields, description=" ".join(docstring.split()))


def choice_of_names(
    name: str, values: Iterable[str], renamed: Mapping[str, str] | None = None
) -> dg.Enum:
    """One of `values`, or an older name of one of them."""
    older = [
        dg.EnumValue(old, description=f"Called `{new}` now.")
        for old, new in (renamed or {}).items()
    ]
    return dg.Enum(name, [*map(dg.EnumValue, values), *older])


def as_changes(
    presets: Mapping[str, type[Preset]], group: str, overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """What `override_schema` let through, as the preset spells it: `arrivals: {kind: poisson,
    rate_per_s: 4}`."""
    fields = _fields(presets, group)
    return {name: _as_change(_annotation(fields[name]), value) for name, value in overrides.items()}


def _fields(presets: Mapping[str, type[Preset]], group: str) -> dict[str, FieldInfo]:
    """By name, the older ones too; where several presets have one, the first's."""
    fields = {
        name: info
        for preset in reversed(list(presets.values()))
        for name, info in preset.model_fields.items()
    }
    older = renamed_keys(group).items()
    return fields | {old: fields[new] for old, new in older if new in fields}


def _only_of(presets: Mapping[str, type[Preset]], field: str) -> str:
    """Which plug-ins have the field, where not all do."""
    having = [name for name, preset in presets.items() if field in preset.model_fields]
    return f" (of {', '.join(having)})" if len(having) < len(presets) else ""


def _annotation(info: FieldInfo) -> Any:
    """A field's type with the marker of the plug-ins that it is one of, if it has one."""
    for marker in info.metadata:
        if isinstance(marker, OneOf | NameOf):
            return Annotated[info.annotation, marker]
    return info.annotation


def _config_type(annotation: Any, enum_name: str, renamed: Mapping[str, str] | None = None) -> Any:
    if kinds := _kinds(annotation):
        return dg.Selector(
            {
                kind: dg.Field(
                    override_schema({kind: preset}), is_required=False, description=preset.__doc__
                )
                for kind, preset in kinds.items()
            }
        )
    if get_origin(annotation) is Annotated:
        inner, *markers = get_args(annotation)
        for marker in markers:
            if isinstance(marker, NameOf):
                return choice_of_names(enum_name, list(marker.plugins.all()), renamed)
        return _config_type(inner, enum_name, renamed)
    if inner := _nullable(annotation):
        return dg.Noneable(_config_type(inner, enum_name, renamed))
    if get_origin(annotation) is Literal:
        return choice_of_names(enum_name, get_args(annotation), renamed)
    if get_origin(annotation) is tuple:
        return dg.Array(_config_type(get_args(annotation)[0], enum_name, renamed))
    if get_origin(annotation) is dict:
        return dg.Map(*get_args(annotation))
    if issubclass(annotation, Preset):
        return override_schema({enum_name: annotation})
    return annotation


def _as_change(annotation: Any, value: Any) -> Any:
    if value is None:
        return None
    if kinds := _kinds(annotation):
        [(kind, fields)] = value.items()
        return {"kind": kind, **as_changes({kind: kinds[kind]}, "", fields)}
    if get_origin(annotation) is Annotated:
        return _as_change(get_args(annotation)[0], value)
    if inner := _nullable(annotation):
        return _as_change(inner, value)
    if get_origin(annotation) is tuple:
        return [_as_change(get_args(annotation)[0], item) for item in value]
    if isinstance(annotation, type) and issubclass(annotation, Preset):
        return as_changes({"": annotation}, "", value)
    return value


def _nullable(annotation: Any) -> Any | None:
    """What `annotation` is besides None, if it may be None."""
    options = _options(annotation)
    others = tuple(option for option in options if option is not type(None))
    return Union[others] if len(others) < len(options) else None  # noqa: UP007 (made of a tuple)


def _kinds(annotation: Any) -> Mapping[str, type[Preset]]:
    """The presets that a value is one of, by their `kind`."""
    if get_origin(annotation) is Annotated:
        for marker in get_args(annotation)[1:]:
            if isinstance(marker, OneOf):
                return marker.kinds()
        return _kinds(get_args(annotation)[0])
    if _nullable(annotation):
        return {}
    return {
        get_args(option.model_fields["kind"].annotation)[0]: option
        for option in _options(annotation)
    }


def _options(annotation: Any) -> Sequence[Any]:
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    return get_args(annotation) if get_origin(annotation) in (Union, type(int | str)) else ()


def _help(info: FieldInfo) -> str:
    bounds = ", ".join(
        f"{sign} {getattr(bound, attribute):g}"
        for bound in _constraints(info)
        for kind, (sign, attribute) in BOUNDS.items()
        if isinstance(bound, kind)
    )
    description = " ".join((info.description or "").split())
    return f"{description} [{bounds}]" if bounds else description


def _constraints(info: FieldInfo) -> list[Any]:
    """Those of the field itself and of the type that it is or null."""
    inner = [
        part for option in get_args(info.annotation) for part in getattr(option, "__metadata__", ())
    ]
    return [*info.metadata, *(bound for part in inner for bound in getattr(part, "metadata", ()))]

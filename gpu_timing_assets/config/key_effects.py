"""What each key of the engine's, the model's and the workload's presets, and of the model's card,
does to a simulation: the table in `docs/keys.md`, which `python -m
gpu_timing_assets.config.key_effects` prints.
"""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from gpu_timing_assets.config.backend import backend_presets
from gpu_timing_assets.config.base import Preset
from gpu_timing_assets.config.model import ModelPreset
from gpu_timing_assets.config.model_card import UNDERSTOOD, Effect
from gpu_timing_assets.config.plugins import OneOf
from gpu_timing_assets.config.workload import WorkloadPreset

_PART_OF_THE_WORKLOAD = "what it makes is in the workload's files, whose hash the gate holds"
BACKEND: Mapping[str, tuple[Effect, str]] = {
    "name": ("recorded and gated", "a bundle and a run of another engine are refused"),
    "python": ("without effect on time", "the engine's version is recorded and gated"),
    "tensor_parallel_size": ("simulated", ""),
    "max_model_len": ("simulated", "above the model's own limit: refused"),
    "max_num_seqs": ("simulated", ""),
    "max_num_batched_tokens": ("simulated", ""),
    "early_stopping": ("recorded and gated", "true: compared on the tokens that there are"),
    "record_steps": ("recorded and gated", "false: no bundle, and no attribution of errors"),
    "observe_steps": ("without effect on time", "events beside the steps"),
    "probe_host": ("without effect on time", "before and after a replay"),
    "probe_s": ("without effect on time", "before and after a replay"),
    "warmup_requests": ("without effect on time", "before the workload's clock starts"),
    "warmup_prefill_tokens": ("without effect on time", "before the workload's clock starts"),
    "warmup_decode_tokens": ("without effect on time", "before the workload's clock starts"),
    "start_timeout_s": ("without effect on time", ""),
    "request_timeout_s": ("without effect on time", "a request that it ends fails its run"),
    "gpu_memory_utilization": ("simulated", "as the KV blocks that the engine found room for"),
    "enforce_eager": ("simulated", ""),
    "async_scheduling": ("simulated", ""),
    "enable_prefix_caching": ("refused", "true: no prefix cache is simulated"),
    "null_token_interval_ms": ("without effect on time", "of an engine that is never simulated"),
}
MODEL: Mapping[str, tuple[Effect, str]] = {
    "name": ("recorded and gated", ""),
    "card": ("simulated", "by what it says, see below"),
    "dtype": ("recorded and gated", "a bundle of another is refused"),
    "weights": ("simulated", "by its card; the values decide nothing where lengths are forced"),
    "seed": ("without effect on time", "of weights and sampling; lengths are forced"),
}

# all else of a workload is in its tables, whoever's kind it is
WORKLOAD: Mapping[str, tuple[Effect, str]] = {
    "workload_id": ("recorded and gated", ""),
    "source.name": ("without effect on time", "metadata"),
    "source.licence": ("without effect on time", "metadata"),
    "source.path": ("simulated", "by the file's bytes, wherever it lies"),
}


def rows() -> Iterator[tuple[str, str, str]]:
    """Key, effect and remark of every key. Raises `KeyError` for one whose effect nobody stated."""
    for name in _fields(backend_presets().values()):
        yield (f"backend.{name}", *BACKEND[name])
    for name in ModelPreset.model_fields:
        yield (f"model.{name}", *MODEL[name])
    for name in _workload_keys():
        yield (f"workload.{name}", *WORKLOAD.get(name, ("simulated", _PART_OF_THE_WORKLOAD)))
    for name, key in UNDERSTOOD.items():
        yield (f"card: {name}", key.effect, f"understood: {key.values}; others are refused")
    yield ("card: any other key", "refused", "by name")


def table() -> str:
    """The table in Markdown."""
    lines = [f"| `{key}` | *{effect}* | {remark} |\n" for key, effect, remark in rows()]
    return "| key | | remark |\n| --- | --- | --- |\n" + "".join(lines)


def _fields(presets: Any) -> list[str]:
    return list(dict.fromkeys(name for preset in presets for name in preset.model_fields))


def _workload_keys() -> Iterator[str]:
    """Of the preset, and of every kind of its parts."""
    for name, field in WorkloadPreset.model_fields.items():
        yield name
        kinds = [one for one in (*field.metadata, *_metadata(field.annotation)) if _is_part(one)]
        parts: list[type[Preset]] = [part for one in kinds for part in one.kinds().values()]
        yield from (f"{name}.{inner}" for inner in _fields(parts))


def _metadata(annotation: Any) -> Iterator[Any]:
    for one in get_args(annotation):
        yield from getattr(one, "__metadata__", ())


def _is_part(metadata: Any) -> bool:
    return isinstance(metadata, OneOf)


if __name__ == "__main__":
    print(table(), end="")  # noqa: T201

"""The model's card (its Hugging Face `config.json`): what of it is understood, and what it decides.

The one reader for all stages. A key or a value that is not understood is refused by name: an engine
would act on it, and the kernels that are profiled here would not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from gpu_timing_assets.config.backend import BackendPreset
from gpu_timing_assets.config.model import ModelPreset
from gpu_timing_assets.core.engine_params import ModelDimensions, RopeScaling
from gpu_timing_assets.core.errors import PresetError
from gpu_timing_assets.core.files import parse_json

Effect = Literal["simulated", "recorded and gated", "without effect on time", "refused"]
DTYPES = ("bfloat16", "float16", "float32")
FULL_ATTENTION = "full_attention"


@dataclass(frozen=True)
class CardKey:
    """A key of the card that is understood. `values` says which, `accepts` decides."""

    effect: Effect
    values: str
    accepts: Callable[[Any], bool] = lambda value: True


def _one_of(*values: Any) -> Callable[[Any], bool]:
    # `in` would take 0 for False
    return lambda value: any(type(value) is type(one) and value == one for one in values)


_ANY = CardKey("without effect on time", "any")
_DIMENSION = CardKey("simulated", "a whole number of at least 1")
_DTYPE = CardKey(
    "without effect on time",
    "bfloat16, float16, float32 or null; the preset's `dtype` is what runs, recorded and gated",
    _one_of(None, *DTYPES),
)
_ROPE = CardKey(
    "recorded and gated",
    "null, the default, or YaRN whose factor × original_max_position_embeddings is "
    "max_position_embeddings",
)
# what `transformers.Qwen3Config` (5.19) reads, and what its base class writes beside it
UNDERSTOOD: Mapping[str, CardKey] = {
    **{
        name: _DIMENSION
        for name, field in ModelDimensions.model_fields.items()
        if field.is_required() and name != "tie_word_embeddings"
    },
    "tie_word_embeddings": CardKey("simulated", "true or false", _one_of(True, False)),
    "model_type": CardKey("simulated", "qwen3", _one_of("qwen3")),
    "architectures": CardKey("simulated", "Qwen3ForCausalLM", _one_of(["Qwen3ForCausalLM"])),
    "hidden_act": CardKey("simulated", "silu", _one_of("silu")),
    "attention_bias": CardKey("simulated", "false", _one_of(False)),
    "use_sliding_window": CardKey("simulated", "false", _one_of(False)),
    "sliding_window": CardKey(
        "simulated", "null, or any where use_sliding_window is false, which turns it off"
    ),
    "layer_types": CardKey(
        "simulated",
        "null, or full_attention for each layer",
        lambda value: (
            value is None
            or (isinstance(value, list) and all(one == FULL_ATTENTION for one in value))
        ),
    ),
    "quantization_config": CardKey("simulated", "null", _one_of(None)),
    "rope_scaling": _ROPE,
    "rope_parameters": _ROPE,
    "dtype": _DTYPE,
    "torch_dtype": _DTYPE,
    **dict.fromkeys(
        (
            *("rope_theta", "rms_norm_eps", "initializer_range", "attention_dropout"),
            *("max_window_layers", "bos_token_id", "eos_token_id", "pad_token_id"),
            *("transformers_version", "use_cache", "_name_or_path"),
        ),
        _ANY,
    ),
}
_ROPE_KEYS = (
    *("rope_type", "type", "rope_theta", "factor", "original_max_position_embeddings"),
    *("attention_factor", "beta_fast", "beta_slow", "truncate"),
)


def read_model_dimensions(model: ModelPreset) -> ModelDimensions:
    """From the card's `config.json`, in the form of transformers 4 or 5.

    Raises `PresetError` if it is missing, if it is not a dense Qwen3's, or if a key or a value in
    it is not understood, which it names.
    """
    path = card_directory(model) / "config.json"
    try:
        return _read_dimensions(path, path.stat().st_mtime_ns)
    except OSError as error:
        why = "is missing" if isinstance(error, FileNotFoundError) else f"({error.strerror})"
        raise PresetError(
            f"model {model.name!r}: {path!s:.500} {why}: put the model's Hugging Face config.json "
            "there"
        ) from None


@cache
def _read_dimensions(path: Path, modified_ns: int) -> ModelDimensions:
    """A card is read once, and again when it was changed."""
    try:
        card = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PresetError(f"{path} is not JSON: {error}") from None
    if not isinstance(card, dict):
        raise PresetError(f"{path} is not a JSON object")
    if card.get("model_type") != "qwen3":
        raise PresetError(
            f"{path}: model_type is {card.get('model_type')!r:.80}, only dense 'qwen3' is supported"
        )
    _refuse_what_is_not_understood(path, card)
    required = [name for name, field in ModelDimensions.model_fields.items() if field.is_required()]
    for name in (*required, "architectures"):
        if name not in card:
            raise PresetError(f"{path}: field {name!r} is missing")
    try:
        return ModelDimensions.model_validate(
            {**{name: card[name] for name in required}, "rope_scaling": _rope_scaling(path, card)},
            strict=True,
        )
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the heads"
        raise PresetError(f"{path}: {field}: {first['msg']}") from None


def _refuse_what_is_not_understood(path: Path, card: dict[str, Any]) -> None:
    for name, value in card.items():
        key = UNDERSTOOD.get(name)
        if key is None:
            raise PresetError(
                f"{path}: {name!r:.80} (here {value!r:.60}) is not understood of a dense Qwen3, "
                "and could change the timing: only its plain cards are simulated; remove the key "
                "if the engine ignores it"
            )
        if not key.accepts(value):
            raise PresetError(
                f"{path}: {name} is {value!r:.80}, and only {key.values} is simulated"
            )
    if card.get("sliding_window") is not None and card.get("use_sliding_window") is not False:
        raise PresetError(
            f"{path}: sliding_window is {card['sliding_window']!r:.80}, and only full attention is "
            "simulated: set use_sliding_window to false if the model has no window"
        )
    layers, count = card.get("layer_types"), card.get("num_hidden_layers")
    if layers is not None and len(layers) != count:
        raise PresetError(f"{path}: layer_types names {len(layers)} layers of {count!r:.80}")


def _rope_scaling(path: Path, card: dict[str, Any]) -> RopeScaling | None:
    """The card's YaRN, under transformers 4's name of it or 5's.

    Releases of vLLM differ in whether the factor makes the context longer than
    max_position_embeddings (`vllm/config/model.py`, `_get_and_verify_max_len`): a card in which the
    two differ may mean another context in each, and is refused.
    """
    found: list[RopeScaling | None] = []
    for name in ("rope_scaling", "rope_parameters"):
        rope = card.get(name)
        if rope is None:
            continue
        if not isinstance(rope, dict):
            raise PresetError(f"{path}: {name} is {rope!r:.80}, expected an object or null")
        if unknown := [key for key in rope if key not in _ROPE_KEYS]:
            raise PresetError(f"{path}: {name}.{unknown[0]:.80} is not understood")
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind == "default":
            found.append(None)
            continue
        if kind != "yarn":
            raise PresetError(
                f"{path}: {name}: rope_type is {kind!r:.80}, and only default and yarn are "
                "understood"
            )
        try:
            scaling = RopeScaling.model_validate(
                {
                    "rope_type": kind,
                    "factor": rope.get("factor"),
                    "original_max_position_embeddings": rope.get(
                        "original_max_position_embeddings"
                    ),
                }
            )
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise PresetError(f"{path}: {name}.{field}: {first['msg']}") from None
        reach, said = scaling.max_positions, card["max_position_embeddings"]
        if reach != said:
            raise PresetError(
                f"{path}: {name} reaches {reach} tokens, max_position_embeddings is {said!r:.80}, "
                "and vLLM's releases differ in which of them is the context: set "
                f"max_position_embeddings to {reach} in this card"
            )
        found.append(scaling)
    if len(found) == 2 and found[0] != found[1]:
        raise PresetError(f"{path}: rope_scaling and rope_parameters differ: keep one")
    return found[0] if found else None


def card_directory(model: ModelPreset) -> Path:
    """Where the engine loads the model from: the weights if there are any, else the card alone."""
    return Path(model.weights) if model.weights else model.card_dir


def context_limit(model: ModelPreset, backend: BackendPreset) -> int:
    """The most tokens, prompt and output together, that the engine takes in a request."""
    limit = read_model_dimensions(model).max_position_embeddings
    return min(limit, backend.max_model_len or limit)


def check_model(model: ModelPreset, backend: BackendPreset) -> None:
    """Before an engine starts. Raises `PresetError` for a model that is not supported, and for a
    `backend.max_model_len` beyond the model's own limit, with which vLLM does not start.
    """
    limit = read_model_dimensions(model).max_position_embeddings
    if backend.max_model_len is not None and backend.max_model_len > limit:
        raise PresetError(
            f"backend.max_model_len is {backend.max_model_len}, above the {limit} of "
            f"max_position_embeddings in {card_directory(model) / 'config.json'}: lower it, or "
            "take a model of a longer context"
        )


def longer_context(model: ModelPreset, backend: BackendPreset) -> str:
    """What a person can do for requests beyond `context_limit`."""
    limit = read_model_dimensions(model).max_position_embeddings
    if backend.max_model_len is not None and backend.max_model_len < limit:
        return f"raise backend.max_model_len (the model takes up to {limit})"
    return f"take a model of a longer context ({model.name}'s own limit is {limit})"

"""The model's directory as an engine wants it, and the model's dimensions from its card."""

from functools import cache
from pathlib import Path

from pydantic import ValidationError

from gpu_timing_assets.config.backend import BackendPreset
from gpu_timing_assets.config.model import ModelPreset
from gpu_timing_assets.core.engine_params import ModelDimensions
from gpu_timing_assets.core.errors import PresetError
from gpu_timing_assets.core.files import parse_json


def read_model_dimensions(model: ModelPreset) -> ModelDimensions:
    """From the card's `config.json`. Raises `PresetError` if it is missing or not a Qwen3's."""
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
            f"{path}: model_type is {card.get('model_type')!r}, only dense 'qwen3' is supported"
        )
    try:
        return ModelDimensions(**{name: card[name] for name in ModelDimensions.model_fields})
    except KeyError as error:
        raise PresetError(f"{path}: field {error.args[0]!r} is missing") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the heads"
        raise PresetError(f"{path}: {field}: {first['msg']}") from None


def card_directory(model: ModelPreset) -> Path:
    """Where the engine loads the model from: the weights if there are any, else the card alone."""
    return Path(model.weights) if model.weights else model.card_dir


def context_limit(model: ModelPreset, backend: BackendPreset) -> int:
    """The most tokens, prompt and output together, that the engine takes in a request."""
    limit = read_model_dimensions(model).max_position_embeddings
    return min(limit, backend.max_model_len or limit)

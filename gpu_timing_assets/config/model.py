"""The model that is served."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from gpu_timing_assets.config.base import Preset
from gpu_timing_assets.core.data_root import NAME_PATTERN, RESOURCES


class ModelPreset(Preset):
    """Which model is served, with which weights."""

    name: str = Field(pattern=NAME_PATTERN)
    """Name of this preset."""

    card: str
    """Directory of the model's Hugging Face `config.json`, absolute or below
    `resources/model_cards`."""

    dtype: Literal["bfloat16", "float16", "float32", "auto"] = "bfloat16"
    """Data type of the weights and the KV cache. `auto`: float32 on a CPU without instructions for
    bfloat16, which is several times slower there; bfloat16 elsewhere."""

    weights: str | None = None
    """Directory of the weights; null: random weights in the card's shape, which take the same time
    as real ones as long as output lengths are forced."""

    seed: int = 0
    """Seed of random weights and of sampling."""

    @property
    def card_dir(self) -> Path:
        return RESOURCES / "model_cards" / self.card

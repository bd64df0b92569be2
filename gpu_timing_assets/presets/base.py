"""The base of all preset models."""

from pydantic import BaseModel, ConfigDict


class Preset(BaseModel):
    """Frozen and closed: a key that is not a field is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

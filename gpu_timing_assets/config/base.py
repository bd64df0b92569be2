"""The base of all preset models."""

from pydantic import BaseModel, ConfigDict


class Preset(BaseModel):
    """Frozen and closed: a key that is not a field is an error, never ignored.

    The text below a field is its description, which the launchpad shows as its help.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        defer_build=True,  # a field may be one of the kinds that plug-ins bring
    )

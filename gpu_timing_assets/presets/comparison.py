"""How a real run and its simulations are judged."""

from pydantic import Field

from gpu_timing_assets.presets.base import Preset


class ComparisonPreset(Preset):
    """`pass_pct` and `warn_pct` bound the absolute error of a statistic; above the second it fails. An error inside
    the noise of the real runs never fails."""

    pass_pct: float = Field(default=5.0, gt=0)
    warn_pct: float = Field(default=9.0, gt=0)
    allow_mismatch: bool = False

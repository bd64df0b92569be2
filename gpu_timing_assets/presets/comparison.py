"""How a real run and its simulations are judged."""

from typing import Self

from pydantic import Field, model_validator

from gpu_timing_assets.presets.base import Preset


class ComparisonPreset(Preset):
    """`pass_pct` and `warn_pct` bound the absolute error of a statistic; above the second it fails. An error inside
    the noise of the real runs never fails.

    Goodput counts the requests whose TTFT and TPOT are both within `ttft_objective_ms` and `tpot_objective_ms`.
    Intervals of `confidence_pct` come from `bootstrap_resamples` resamples drawn from `bootstrap_seed`.
    `kv_blocks_tolerance_pct` is how far the number of KV blocks may differ: an engine sizes its cache by the memory it
    finds free, which varies by a fraction of a percent from one start to the next. Every other knob must be equal.
    `allow_mismatch` compares runs that the parity gate refuses; the report then says so at its top.
    """

    pass_pct: float = Field(default=5.0, gt=0)
    warn_pct: float = Field(default=9.0, gt=0)
    allow_mismatch: bool = False
    kv_blocks_tolerance_pct: float = Field(default=2.0, ge=0, le=10)
    ttft_objective_ms: float = Field(default=200.0, gt=0)
    tpot_objective_ms: float = Field(default=50.0, gt=0)
    bootstrap_resamples: int = Field(default=1000, ge=100, le=20_000)
    bootstrap_seed: int = Field(default=0, ge=0)
    confidence_pct: float = Field(default=95.0, gt=50, lt=100)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.warn_pct < self.pass_pct:
            raise ValueError("warn_pct must not be below pass_pct")
        return self

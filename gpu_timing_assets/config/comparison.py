"""How a real run and its simulations are judged."""

from typing import Self

from pydantic import Field, model_validator

from gpu_timing_assets.config.base import Preset


class ComparisonPreset(Preset):
    """The thresholds of the verdicts and the objectives of goodput. An error inside the noise of
    the real runs never fails.
    """

    pass_pct: float = Field(default=5.0, gt=0)
    """Up to here the absolute error of a statistic passes."""

    warn_pct: float = Field(default=9.0, gt=0)
    """Above this it fails; between the two it is a warning."""

    allow_mismatch: bool = False
    """Compare runs that the parity gate refuses; the report then says so at its top."""

    kv_blocks_tolerance_pct: float = Field(default=2.0, ge=0, le=10)
    """How far the number of KV blocks may differ: an engine sizes its cache by the memory it finds
    free, which varies by a fraction of a percent from one start to the next. Every other knob must
    be equal."""

    ttft_objective_ms: float = Field(default=200.0, gt=0)
    """A request counts to the goodput only if its TTFT is within this."""

    tpot_objective_ms: float = Field(default=50.0, gt=0)
    """A request counts to the goodput only if its TPOT is within this."""

    bootstrap_resamples: int = Field(default=1000, ge=100, le=20_000)
    """From how many resamples the confidence intervals come."""

    bootstrap_seed: int = Field(default=0, ge=0)
    """Of those resamples."""

    confidence_pct: float = Field(default=95.0, gt=50, lt=100)
    """Of the intervals."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.warn_pct < self.pass_pct:
            raise ValueError("warn_pct must not be below pass_pct")
        return self

"""How a real run and its simulations are judged."""

from typing import Self

from pydantic import Field, model_validator

from gpu_timing_assets.config.base import Preset


class ComparisonPreset(Preset):
    """The thresholds of the verdicts and the objectives of goodput. An error inside the noise of
    the real runs never fails.
    """

    judged: str = "engine_loop"
    """Simulation that is judged, by its predictor or simulator; the one corrected for the host's
    speed where there is one. Without one of that name the first that has nothing substituted."""

    pass_pct: float = Field(default=5.0, gt=0)
    """Largest absolute error of a statistic that passes, in percent of the real value."""

    warn_pct: float = Field(default=9.0, gt=0)
    """Largest absolute error of a statistic that warns, in percent of the real value; a larger one
    fails."""

    allow_mismatch: bool = False
    """Compare runs that the parity gate refuses; the report then says so at its top."""

    kv_blocks_tolerance_pct: float = Field(default=2.0, ge=0, le=10)
    """Largest difference in the number of KV blocks that does not refuse a comparison, in percent:
    an engine sizes its cache by the memory it finds free, which varies by a fraction of a percent
    from one start to the next."""

    ttft_objective_ms: float = Field(default=200.0, gt=0)
    """Longest TTFT of a request that counts to the goodput, in ms."""

    tpot_objective_ms: float = Field(default=50.0, gt=0)
    """Longest TPOT of a request that counts to the goodput, in ms."""

    bootstrap_resamples: int = Field(default=1000, ge=100, le=20_000)
    """Number of resamples behind each confidence interval: more make its ends steadier."""

    bootstrap_seed: int = Field(default=0, ge=0)
    """Seed of the resamples: the same seed gives the same intervals."""

    confidence_pct: float = Field(default=95.0, gt=50, lt=100)
    """Confidence of the intervals of the errors, in percent."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.warn_pct < self.pass_pct:
            raise ValueError("warn_pct must not be below pass_pct")
        return self

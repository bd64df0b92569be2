"""How the graph is operated on this machine: environment variables over defaults that work."""

import os
import shlex

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """`target` are Hydra overrides that stand before all others (`GPU_TIMING_TARGET="hardware=h100
    backend=vllm"`).

    `executor` runs the steps: `multiprocess` on this machine, `celery` over workers (see
    deploy/celery).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: tuple[str, ...] = ()
    executor: str = Field(default="multiprocess", pattern="^(multiprocess|celery)$")
    celery_broker: str = "redis://127.0.0.1:6390/0"
    backfill_cron: str = "0 2 * * *"
    refresh_cron: str = "0 4 * * 0"
    cron_timezone: str = "UTC"
    comparison_max_age_days: int = Field(default=8, ge=1)
    reports_port: int = Field(default=3001, ge=1024, le=65535)

    @property
    def reports_url(self) -> str:
        return f"http://127.0.0.1:{self.reports_port}"


def load_settings() -> Settings:
    """`GPU_TIMING_TARGET`, `GPU_TIMING_EXECUTOR`, `GPU_TIMING_BACKFILL_CRON` …, or the defaults."""
    named = {
        name: os.environ[variable]
        for name in Settings.model_fields
        if os.environ.get(variable := f"GPU_TIMING_{name.upper()}")
    }
    values: dict[str, object] = {**named}
    if "target" in named:
        values["target"] = tuple(shlex.split(named["target"]))
    return Settings.model_validate(values)

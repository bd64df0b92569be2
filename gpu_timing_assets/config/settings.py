"""How the graph is operated on this machine: environment variables over defaults that work."""

import os
import shlex

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gpu_timing_assets.core.errors import PresetError


class Settings(BaseModel):
    """`target` are Hydra overrides that stand before all others (`GPU_TIMING_TARGET="hardware=h100
    backend=vllm"`).

    `interpreters`: what `backend.python` may name besides the target's own, separated by colons: a
    run configuration comes from whoever reaches the page, or with somebody else's run.

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
    dagster_port: int = Field(default=3000, ge=1024, le=65535)
    reports_port: int = Field(default=3001, ge=1024, le=65535)
    interpreters: tuple[str, ...] = ()

    @property
    def reports_url(self) -> str:
        return f"http://127.0.0.1:{self.reports_port}"

    @property
    def listed_interpreters(self) -> frozenset[str]:
        """What `backend.python` may name: those of the settings and the target's own."""
        own = (word.partition("backend.python=")[2] for word in self.target)
        return frozenset({*self.interpreters, *filter(None, own)})


def load_settings() -> Settings:
    """`GPU_TIMING_TARGET`, `GPU_TIMING_EXECUTOR`, `GPU_TIMING_BACKFILL_CRON` …, or the defaults.

    Raises `PresetError` naming the variable whose value will not do.
    """
    values: dict[str, object] = {
        name: os.environ[variable]
        for name in Settings.model_fields
        if os.environ.get(variable := _variable(name))
    }
    if "target" in values:
        values["target"] = target_words()
    if "interpreters" in values:
        values["interpreters"] = tuple(str(values["interpreters"]).split(os.pathsep))
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise PresetError(f"{_variable(name)}={first['input']!r}: {first['msg']}") from None


def target_words() -> tuple[str, ...]:
    """Those of `GPU_TIMING_TARGET`. Raises `PresetError` where its quotes do not balance."""
    text = os.environ.get(_variable("target"), "")
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        fault = f"{error}: balance its quotes"
        raise PresetError(f"{_variable('target')}={text!r} is no command line: {fault}") from None


def _variable(name: str) -> str:
    return f"GPU_TIMING_{name.upper()}"

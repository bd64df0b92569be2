"""What vLLM resolved its settings to, in whichever of its processes this is asked."""

import re
from typing import Any

from gpu_timing_assets.engines.settings import environment, flat_settings

# not settings: another at each start, ours, the model's layers, and what starting took
_LEFT_OUT = re.compile(
    r"instance_id$|scheduler_config\.scheduler_cls$|compilation_config\.(static_|traced_files)|.*_time$"
)


def resolved_settings(config: Any) -> dict[str, Any]:
    """All of a `VllmConfig`, and the workers' model runner, which decides the host's code."""
    runner = getattr(config, "use_v2_model_runner", None)
    settings = {**flat_settings(config), "use_v2_model_runner": runner}
    return {name: value for name, value in sorted(settings.items()) if not _LEFT_OUT.match(name)}


def vllm_environment() -> dict[str, str | None]:
    """Each variable that vLLM knows, as it reads it."""
    from vllm import envs

    return environment({name: _read(envs, name) for name in envs.environment_variables})


def _read(envs: Any, name: str) -> Any:
    try:
        return getattr(envs, name)
    except Exception as error:
        return f"unreadable: {type(error).__name__}"

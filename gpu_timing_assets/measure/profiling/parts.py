"""What a profile has measured so far, kept beside the bundle so that an interrupted one goes on
where it stopped.
"""

from pathlib import Path

HEAD_PART, LINEARS_PART, ATTENTION_PART = (
    "head_times.json",
    "linear_times.json",
    "attention_times.json",
)
BURSTS_DIR = "bursts"
SESSION_FILE = "session.json"


def parts_dir(out: Path, config_sha256: str, engine_version: str | None) -> Path:
    """The directory of the measured parts of one configuration of the bundle `out` under one
    version of the engine.
    """
    return (
        out.parent
        / f".unfinished-parts-{out.name}-{config_sha256[:16]}-{engine_version or 'elsewhere'}"
    )

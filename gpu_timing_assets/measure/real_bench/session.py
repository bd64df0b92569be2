"""Where the engine's process and the stage meet on disk: one scratch directory a session."""

from pathlib import Path

SESSION_FILE = "session.json"
REPLAY_FILE = "replay.json"


def replay_dir(scratch: Path, workload_id: str, repeat: int) -> Path:
    return scratch / "replays" / workload_id / str(repeat)

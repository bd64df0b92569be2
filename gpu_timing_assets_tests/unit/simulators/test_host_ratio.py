"""How fast the host was in the real runs: from the probes beside them in one engine start."""

from pathlib import Path

from gpu_timing_assets.core.files import write_json
from gpu_timing_assets.core.host_probe import HostProbe
from gpu_timing_assets.core.run import RUN_META_FILE
from gpu_timing_assets.simulators.vidur_ext.host_ratio import probes_beside
from gpu_timing_assets_tests.unit.compare.synthetic_runs import real_meta


def probe(ms: float) -> HostProbe:
    return HostProbe(decode_1_ms=ms, decode_8_ms=ms, mixed_ms=ms, num_mixed_steps=9)


def put_run(
    root: Path,
    workload: str,
    session: str,
    before: HostProbe | None,
    after: HostProbe | None,
    repeat: int = 0,
) -> Path:
    directory = root / f"{workload}--tiny--cpu--vllm--{session}-r{repeat}"
    directory.mkdir()
    meta = real_meta(
        directory.name,
        workload_id=workload,
        session=session,
        probe_before=before,
        probe_after=after,
    )
    write_json(directory / RUN_META_FILE, meta)
    return directory


def test_every_repeat_of_the_workload_counts_and_no_other_workload_or_start(tmp_path: Path) -> None:
    chat = put_run(tmp_path, "chat", "monday", probe(1), probe(2))
    put_run(tmp_path, "chat", "monday", probe(3), probe(4), repeat=1)
    put_run(tmp_path, "code", "monday", probe(7), probe(8))
    put_run(tmp_path, "chat", "tuesday", probe(5), probe(6))
    assert sorted(found.decode_1_ms for found in probes_beside(chat)) == [1, 2, 3, 4]


def test_the_probe_between_two_replays_counts_once(tmp_path: Path) -> None:
    chat = put_run(tmp_path, "chat", "monday", probe(1), probe(2))
    put_run(tmp_path, "chat", "monday", probe(2), probe(3), repeat=1)
    assert [found.decode_1_ms for found in probes_beside(chat)] == [1, 2, 3]


def test_runs_without_a_probe_have_none(tmp_path: Path) -> None:
    assert probes_beside(put_run(tmp_path, "chat", "monday", None, None)) == []

"""How fast the host was in the real runs: from all probes of one engine start."""

from pathlib import Path

from gpu_timing_assets.core.files import write_json
from gpu_timing_assets.core.host_probe import HostProbe
from gpu_timing_assets.core.run import RUN_META_FILE
from gpu_timing_assets.simulators.vidur_ext.host_ratio import probes_of_session
from gpu_timing_assets_tests.unit.compare.synthetic_runs import real_meta


def probe(ms: float) -> HostProbe:
    return HostProbe(decode_1_ms=ms, decode_8_ms=ms, mixed_ms=ms, num_mixed_steps=9)


def put_run(
    root: Path, workload: str, session: str, before: HostProbe | None, after: HostProbe | None
) -> Path:
    directory = root / f"{workload}--tiny--cpu--vllm--{session}-r0"
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


def test_every_workload_of_the_engine_start_counts_and_no_other_start(tmp_path: Path) -> None:
    chat = put_run(tmp_path, "chat", "monday", probe(1), probe(2))
    put_run(tmp_path, "code", "monday", probe(4), probe(3))
    put_run(tmp_path, "chat", "tuesday", probe(5), probe(6))
    assert sorted(found.decode_1_ms for found in probes_of_session(chat)) == [1, 2, 3, 4]


def test_the_probe_between_two_replays_counts_once(tmp_path: Path) -> None:
    chat = put_run(tmp_path, "chat", "monday", probe(1), probe(2))
    put_run(tmp_path, "code", "monday", probe(2), probe(3))
    assert [found.decode_1_ms for found in probes_of_session(chat)] == [1, 2, 3]


def test_runs_without_a_probe_have_none(tmp_path: Path) -> None:
    assert probes_of_session(put_run(tmp_path, "chat", "monday", None, None)) == []

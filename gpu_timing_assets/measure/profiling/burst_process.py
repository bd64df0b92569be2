"""The process that plays the bursts on the real engine and writes what engine and client saw."""

import asyncio
import math
from pathlib import Path
from typing import Any

from gpu_timing_assets.config.experiment import ExperimentConfig, validate
from gpu_timing_assets.config.profiling import ProfilingPreset
from gpu_timing_assets.core.files import write_json
from gpu_timing_assets.engine_loop.fit.fit_time import MIN_ROWS
from gpu_timing_assets.engines.base import Report
from gpu_timing_assets.engines.child_process import engine_process_main
from gpu_timing_assets.engines.session import engine_session
from gpu_timing_assets.engines.warmup import warm_up
from gpu_timing_assets.measure.profiling.burst_plan import (
    decode_bursts,
    idle_burst,
    injection_bursts,
    prefill_bursts,
    storm_bursts,
)
from gpu_timing_assets.measure.profiling.burst_recorder import BurstRecorder
from gpu_timing_assets.measure.profiling.parts import BURSTS_DIR, PROBES_FILE, Probes

BURST_SEED = 20_000


def work(request: dict[str, Any], scratch: Path, report: Report) -> None:
    config = validate(request["config"], "the request")
    with engine_session(config, scratch, report) as engine:
        recorder = BurstRecorder(engine, config, report)
        asyncio.run(play_all(recorder, config))
        recorder.write_tables(scratch / BURSTS_DIR, BURST_SEED)
        write_json(scratch / BURSTS_DIR / PROBES_FILE, Probes(played=tuple(recorder.probes)))
        report(f"{len(recorder.played)} bursts played")


async def play_all(recorder: BurstRecorder, config: ExperimentConfig) -> None:
    """Repeat by repeat, so that a host that is slow for a while is slow for all kinds."""
    await warm_up(recorder.engine, config.backend)
    await recorder.engine.observe_steps(True)
    grid, params = config.profiling, recorder.engine.params
    # the first pass of a shape compiles, captures or allocates: it is dropped
    for burst in [*decode_bursts(grid, params)][:2]:
        await recorder.play(burst)
    await recorder.play(idle_burst(grid, params, BURST_SEED - 1))
    recorder.played.clear()
    await recorder.probe_host()
    for repeat in range(grid.burst_repeats):
        await _play_repeat(recorder, grid, repeat)
    await recorder.engine.flush_recording()


async def _play_repeat(recorder: BurstRecorder, grid: ProfilingPreset, repeat: int) -> None:
    """One repeat's share of each kind of burst, the host's probe between them; what a kind yielded
    is checked at once.
    """
    params, repeats = recorder.engine.params, grid.burst_repeats
    needed = math.ceil(MIN_ROWS * (repeat + 1) / repeats)
    decode = [*decode_bursts(grid, params)]
    await recorder.play_kind(needed, lambda again: decode[(repeat + again) % repeats :: repeats])
    await recorder.probe_host()
    seed = BURST_SEED + repeat
    await recorder.play_kind(needed, lambda again: [idle_burst(grid, params, seed + 1000 * again)])
    step_ms, prefill_ms = recorder.decode_step_ms(), recorder.prefill_ms()
    await recorder.play_kind(
        needed,
        lambda again: [*injection_bursts(grid, params, step_ms, BURST_SEED, repeat + 1000 * again)],
    )
    await recorder.probe_host()
    storms = storm_bursts(grid, params, step_ms, prefill_ms, BURST_SEED, repeat)
    for burst in (*prefill_bursts(grid, params, prefill_ms), *storms):
        await recorder.play(burst)
    await recorder.probe_host()


if __name__ == "__main__":
    engine_process_main(work)
